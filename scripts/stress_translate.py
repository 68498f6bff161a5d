"""Translates a long file, measures the memory, kills the process in the middle and continues: the output must be equal.

    python scripts/stress_translate.py FILE [--run RUN] [--short 20000] [--long 200000] [key=value ...]

The lines of FILE are repeated up to the two lengths. Without --run, a small model is first trained on the demo corpus,
from English to French. Prints the peak memory for both lengths and its ratio, which must be at most 1.2, and whether
the long output, interrupted by SIGKILL and continued with append=true, is equal to that of an uninterrupted
translation. Exits with status 1 if one of the two fails.
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

from small_model import SMALL_MODEL

ROOT = Path(__file__).resolve().parents[1]
MOST_GROWTH = 1.2
SMALL = [
    *SMALL_MODEL,
    "batch.size=1000",
    "trainer.max_updates=300",
    "trainer.validate_every=0",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--run", type=Path, default=None)
    parser.add_argument("--short", type=int, default=20_000)
    parser.add_argument("--long", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("settings", nargs="*")
    arguments = parser.parse_intermixed_args()
    folder = Path(tempfile.mkdtemp(prefix="stress-"))
    run = arguments.run.resolve() if arguments.run else folder / "small"
    if not arguments.run:
        subprocess.run([sys.executable, "-m", "nmt.train", f"run={run}", *SMALL], cwd=ROOT, check=True)
    settings = [
        f"checkpoint={run}",
        "decode.beam=1",
        "decode.batch_size=256",
        "decode.max_length=20",
        *arguments.settings,
    ]
    peaks = {}
    for lines in (arguments.short, arguments.long):
        source, out = folder / f"{lines}.src", folder / f"{lines}.tgt"
        repeat(arguments.file, source, lines)
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
    growth = peaks[arguments.long] / peaks[arguments.short]

    source, whole = folder / f"{arguments.long}.src", folder / f"{arguments.long}.tgt"
    cut, total = folder / "cut.tgt", whole.stat().st_size
    rng = random.Random(arguments.seed)
    for kill in range(arguments.kills):
        target = int(total * (kill + rng.uniform(0.2, 0.8)) / arguments.kills)
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
    print(f"memory of {arguments.long} over {arguments.short} lines: {growth:.3f} (at most {MOST_GROWTH})")
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
