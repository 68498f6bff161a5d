"""Translates a long file, measures memory, kills it in the middle and continues: the output must be the same bytes.

    python scripts/stress_translate.py FILE [--run RUN] [--short 20000] [--long 200000] [key=value ...]

FILE's lines are repeated to the two lengths. Without RUN a small model is trained first, English to French, on the
corpus that comes with the program. Prints the peak memory of both and their ratio, which must be at most 1.2, and
whether the long output, cut off by SIGKILL and continued with append=true, is that of an undisturbed translation. Exit
code 1 if not.
"""

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_GROWTH = 1.2
SMALL = [
    "+experiment=bahdanau",
    "model.encoder.embedding=32",
    "model.encoder.hidden=32",
    "model.decoder.embedding=32",
    "model.decoder.hidden=64",
    "model.decoder.readout=32",
    "model.attention.size=32",
    "batch.size=1000",
    "trainer.max_epochs=null",
    "trainer.max_updates=300",
    "trainer.validate_every=0",
    "trainer.valid_beam=1",
    "trainer.valid_sentences=20",
    "trainer.tensorboard=false",
    "threads=1",
]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file", type=Path)
    options.add_argument("--run", type=Path, default=None)
    options.add_argument("--short", type=int, default=20_000)
    options.add_argument("--long", type=int, default=200_000)
    options.add_argument("--kills", type=int, default=1)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("settings", nargs="*")
    asked = options.parse_intermixed_args()
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    run = asked.run.resolve() if asked.run else folder / "small"
    if not asked.run:
        subprocess.run([sys.executable, "-m", "nmt.train", f"run={run}", *SMALL], cwd=ROOT, check=True)
    settings = [
        f"checkpoint={run}",
        "decode.beam=1",
        "decode.batch_size=256",
        "decode.max_length=20",
        *asked.settings,
    ]
    peaks = {}
    for lines in (asked.short, asked.long):
        source, out = folder / f"{lines}.src", folder / f"{lines}.tgt"
        repeat(asked.file, source, lines)
        begun = time.monotonic()
        process = start(source, out, settings)
        _, status, usage = os.wait4(process.pid, 0)
        if os.waitstatus_to_exitcode(status):
            print(f"translating {source} failed")
            return 1
        peaks[lines] = usage.ru_maxrss / 1024
        seconds = time.monotonic() - begun
        print(
            f"{lines:8} lines  {seconds:7.0f} s  {lines / seconds:6.0f} lines/s  peak {peaks[lines]:6.0f} MB",
            flush=True,
        )
    growth = peaks[asked.long] / peaks[asked.short]

    source, whole = folder / f"{asked.long}.src", folder / f"{asked.long}.tgt"
    cut, total = folder / "cut.tgt", whole.stat().st_size
    dice = random.Random(asked.seed)
    for kill in range(asked.kills):
        target = int(total * (kill + dice.uniform(0.2, 0.8)) / asked.kills)
        process = start(source, cut, settings)
        while process.poll() is None and (not cut.exists() or cut.stat().st_size < target):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"killed with {cut.stat().st_size:,} of {total:,} bytes written", flush=True)
    if start(source, cut, settings).wait():
        print("continuing failed")
        return 1
    same = cut.read_bytes() == whole.read_bytes()
    print(f"memory of {asked.long} over {asked.short} lines: {growth:.3f} (at most {MOST_GROWTH})")
    print(f"continued after a kill: {'the same bytes' if same else 'OTHER BYTES'}")
    return 0 if same and growth <= MOST_GROWTH else 1


def start(source: Path, out: Path, settings: list[str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "nmt.translate", f"in={source}", f"out={out}", "append=true", *settings]
    return subprocess.Popen(command, cwd=ROOT)


def repeat(file: Path, out: Path, lines: int) -> None:
    with file.open("rb") as whole, out.open("wb") as sink:
        sink.writelines(itertools.islice(itertools.cycle(list(whole)), lines))


if __name__ == "__main__":
    sys.exit(main())
