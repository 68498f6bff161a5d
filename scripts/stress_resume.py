"""Kills a training run at random moments and resumes it; the result must be equal to that of an uninterrupted run.

    python scripts/stress_resume.py [--kills 30] [--seed 1] [--updates 400] [--folder DIR] [key=value ...]

Trains on the demo corpus, with dropout 0.3, two batches per update and a checkpoint every 20 updates, once without
interruption and once with SIGKILL: a third of the kills while a checkpoint is being written, a third after a number of
updates, a third at any time after the start. Compares the last checkpoints (weights, optimizer, random states, position
in the data; not the times) and all logged losses, bit for bit. Exits with status 1 if they differ.
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
from small_model import SMALL_MODEL

from nmt import checkpoint

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = [
    *SMALL_MODEL,
    "model.encoder.dropout=0.3",
    "model.decoder.dropout=0.3",
    "batch.size=512",
    "optim.ema_decay=0.99",
    "optim.schedule.name=plateau",
    "trainer.grad_accumulation=2",
    "trainer.log_every=1",
    "trainer.save_every=20",
    "trainer.validate_every=90",
    "decode.max_length=30",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("settings", nargs="*")
    arguments = parser.parse_intermixed_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="stress-"))
    settings = [*SETTINGS, f"trainer.max_updates={arguments.updates}", *arguments.settings]
    whole, killed = folder / "uninterrupted", folder / "killed"

    started = time.monotonic()
    if start(whole, settings).wait():
        return report_failure(folder / "uninterrupted.log")
    print(f"uninterrupted: {arguments.updates} updates in {time.monotonic() - started:.0f} s", flush=True)
    rng = random.Random(arguments.seed)
    kinds = collections.Counter()
    done, redone = 0, 0
    while done < arguments.kills:
        kind = ("while saving", "after updates", "at any moment")[done % 3]
        # The latest update for this kill, so that updates remain for the later ones.
        most = int(arguments.updates * (done + 1) / (arguments.kills + 1)) + 10
        before = updates(killed)
        process = start(killed, settings)
        if not wait_for_moment(process, killed, kind, rng, most):
            process.kill()
            process.wait()
            return report_failure(folder / "killed.log")
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            return report_failure(folder / "killed.log")
        done += 1
        kinds[kind] += 1
        redone += max(0, updates(killed) - saved(killed))
        print(
            f"kill {done:3} {kind:14} at update {before:4} -> {updates(killed):4}, saved {saved(killed):4}", flush=True
        )
    if start(killed, settings).wait():
        return report_failure(folder / "killed.log")

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


def wait_for_moment(process: subprocess.Popen, run: Path, kind: str, rng: random.Random, most: int) -> bool:
    """Waits for the moment of the kill -> whether the process still runs then."""
    if kind == "at any moment":
        end = time.monotonic() + rng.uniform(0, 12)
        moment = lambda: time.monotonic() > end or updates(run) >= most  # noqa: E731
    elif kind == "after updates":
        target = updates(run) + rng.randint(1, 30)
        moment = lambda: updates(run) >= min(target, most) and saved(run) < updates(run)  # noqa: E731
    else:
        moment = lambda: writing(run)  # noqa: E731
    while not moment():
        if process.poll() is not None:
            return False
        time.sleep(0.0005 if kind == "while saving" else 0.005)
    time.sleep(rng.uniform(0, 0.02))
    return True


def writing(run: Path) -> bool:
    """Whether a checkpoint is being written or renamed."""
    try:
        return any(".partial-" in name or name.endswith(".old") for name in os.listdir(run / "checkpoints"))
    except FileNotFoundError:
        return False


def updates(run: Path) -> int:
    """The number of updates in the log, including those after the last checkpoint, which will be repeated."""
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
    return {**{f"model {name}": tensor for name, tensor in snapshot.model.items()}, **snapshot.training}


def differences(run: Path, other: Path):
    """Descriptions of the differences between two runs."""
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
        for clock in ("seconds", "validation_seconds"):
            state.pop(clock)
        state["window"].pop("seconds")
    yield from (f"state {key}" for key in states[0] if states[0][key] != states[1][key])
    for name in ("best", "last"):
        found = [checkpoint.read_update(each / "checkpoints" / name) for each in (run, other)]
        if found[0] != found[1]:
            yield f"{name} is of updates {found[0]} and {found[1]}"


def report_failure(log: Path) -> int:
    print(f"a run ended by itself before its time; see {log}")
    print(log.read_text(errors="replace")[-2000:])
    return 1


if __name__ == "__main__":
    sys.exit(main())
