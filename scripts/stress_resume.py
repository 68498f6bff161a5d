"""Kills a training run at random moments and resumes it, again and again; the end must be that of an undisturbed run.

    python scripts/stress_resume.py [--kills 30] [--seed 1] [--updates 400] [--folder DIR] [key=value ...]

Trains on the corpus that comes with the program, with dropout 0.3, two batches an update and a checkpoint every 20
updates, once undisturbed and once with SIGKILL: a third of the kills while a checkpoint is being written, a third
after a number of updates, a third at any moment after the start. Compares all of the last checkpoint but its clocks
(weights, optimizer, random states, place in the data) and every logged loss, bit for bit. Exit code 1 if they differ.
"""

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from nmt import checkpoint

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = [
    "+experiment=bahdanau",
    "model.encoder.embedding=32",
    "model.encoder.hidden=32",
    "model.decoder.embedding=32",
    "model.decoder.hidden=64",
    "model.decoder.readout=32",
    "model.attention.size=32",
    "model.encoder.dropout=0.3",
    "model.decoder.dropout=0.3",
    "batch.size=512",
    "optim.ema_decay=0.99",
    "optim.schedule.name=plateau",
    "trainer.grad_accumulation=2",
    "trainer.max_epochs=null",
    "trainer.log_every=1",
    "trainer.save_every=20",
    "trainer.validate_every=90",
    "trainer.valid_beam=1",
    "trainer.valid_sentences=20",
    "trainer.tensorboard=false",
    "decode.max_length=30",
    "threads=1",
]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=30)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--updates", type=int, default=400)
    options.add_argument("--folder", type=Path, default=None)
    options.add_argument("settings", nargs="*")
    asked = options.parse_intermixed_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="torture-"))
    settings = [*SETTINGS, f"trainer.max_updates={asked.updates}", *asked.settings]
    whole, killed = folder / "undisturbed", folder / "killed"

    started = time.monotonic()
    if start(whole, settings).wait():
        return complain(folder / "undisturbed.log")
    print(f"undisturbed: {asked.updates} updates in {time.monotonic() - started:.0f} s", flush=True)
    dice = random.Random(asked.seed)
    kinds = collections.Counter()
    done, redone = 0, 0
    while done < asked.kills:
        kind = ("while saving", "after updates", "at any moment")[done % 3]
        # So much of the run may be behind it after this kill that the others still find something to disturb.
        most = int(asked.updates * (done + 1) / (asked.kills + 1)) + 10
        before = updates(killed)
        process = start(killed, settings)
        if not disturb(process, killed, kind, dice, most):
            process.kill()
            process.wait()
            return complain(folder / "killed.log")
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            return complain(folder / "killed.log")
        done += 1
        kinds[kind] += 1
        redone += max(0, updates(killed) - saved(killed))
        print(
            f"kill {done:3} {kind:14} at update {before:4} -> {updates(killed):4}, saved {saved(killed):4}", flush=True
        )
    if start(killed, settings).wait():
        return complain(folder / "killed.log")

    problems = list(differences(whole, killed))
    print()
    for kind, count in sorted(kinds.items()):
        print(f"kills {kind:16} {count:6}")
    print(f"updates redone         {redone:6}")
    print(f"logged losses compared {len(losses(whole)):6}")
    print(f"tensors compared       {len(tensors(whole)):6}")
    print(f"differences            {len(problems):6}")
    for problem in problems[:20]:
        print("  " + problem)
    return 1 if problems else 0


def start(run: Path, settings: list[str]) -> subprocess.Popen:
    run.parent.mkdir(parents=True, exist_ok=True)
    with open(run.with_suffix(".log"), "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "nmt.train", "resume=auto", f"run={run}", *settings],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )


def disturb(process: subprocess.Popen, run: Path, kind: str, dice: random.Random, most: int) -> bool:
    """Waits for the moment to kill; False if the process ended before it."""
    if kind == "at any moment":
        end = time.monotonic() + dice.uniform(0, 12)
        moment = lambda: time.monotonic() > end or updates(run) >= most  # noqa: E731
    elif kind == "after updates":
        target = updates(run) + dice.randint(1, 30)
        moment = lambda: updates(run) >= min(target, most) and saved(run) < updates(run)  # noqa: E731
    else:
        moment = lambda: writing(run)  # noqa: E731
    while not moment():
        if process.poll() is not None:
            return False
        time.sleep(0.0005 if kind == "while saving" else 0.005)
    time.sleep(dice.uniform(0, 0.02))
    return True


def writing(run: Path) -> bool:
    """Whether a checkpoint is being made, or put into its place."""
    try:
        return any(".partial-" in name or name.endswith(".old") for name in os.listdir(run / "checkpoints"))
    except FileNotFoundError:
        return False


def updates(run: Path) -> int:
    """Lines of the log so far, which has one for each update; what is beyond the checkpoint will be dropped."""
    try:
        return (run / "metrics.jsonl").read_bytes().count(b'"kind": "train"')
    except FileNotFoundError:
        return 0


def saved(run: Path) -> int:
    try:
        return checkpoint.read_update(run / "checkpoints" / "last")
    except ValueError:
        return 0


def losses(run: Path) -> list[tuple[int, str, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(line["update"], line["kind"], line["loss"]) for line in lines]


def tensors(run: Path) -> dict[str, torch.Tensor]:
    snapshot = checkpoint.read(run / "checkpoints" / "last", weights_only=False)
    return {**{f"model {name}": held for name, held in snapshot.model.items()}, **snapshot.training}


def differences(run: Path, other: Path):
    """What is not the same in two runs, in words."""
    ones, twos = losses(run), losses(other)
    yield from (f"logged {one} and {two}" for one, two in zip(ones, twos, strict=False) if one != two)
    if len(ones) != len(twos):
        yield f"{len(ones)} and {len(twos)} logged losses"
    one, two = tensors(run), tensors(other)
    for name in one.keys() | two.keys():
        if name not in one or name not in two or not torch.equal(one[name], two[name]):
            yield f"tensor {name}"
    states = [checkpoint.read(run / "checkpoints" / "last", weights_only=False).state for run in (run, other)]
    for state in states:
        for clock in ("seconds", "reserve"):
            state.pop(clock)
        state["window"].pop("seconds")
    yield from (f"state {key}" for key in states[0] if states[0][key] != states[1][key])
    for name in ("best", "last"):
        found = [checkpoint.read_update(each / "checkpoints" / name) for each in (run, other)]
        if found[0] != found[1]:
            yield f"{name} is of updates {found[0]} and {found[1]}"


def complain(log: Path) -> int:
    print(f"a run ended by itself before its time; see {log}")
    print(log.read_text(errors="replace")[-2000:])
    return 1


if __name__ == "__main__":
    sys.exit(main())
