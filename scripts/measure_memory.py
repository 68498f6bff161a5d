"""Compares the peak memory of training on a whole corpus and on its first lines, and the time of a second run.

    python scripts/measure_memory.py PREFIX VALID SRC TGT [--first 20000] [--updates 30]

PREFIX.SRC and PREFIX.TGT may be compressed by gzip. Each run is a separate process. The runs share a cache, which is
empty before the first.
"""

import argparse
import gzip
import os
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path


def opened(prefix: str, language: str):
    plain = Path(f"{prefix}.{language}")
    return plain.open("rb") if plain.exists() else gzip.open(f"{plain}.gz")


def train(work: Path, name: str, prefix: str, options: argparse.Namespace) -> tuple[float, float]:
    """Trains in a child process -> its peak resident memory in MB, and seconds."""
    command = [sys.executable, "-m", "nmt.train", "+experiment=bahdanau", "data=files", f"data.src={options.src}"]
    command += [f"data.tgt={options.tgt}", f"data.train={prefix}", f"data.valid={options.valid}"]
    command += [f"data.cache={work / 'cache'}", f"run={work / name}", f"trainer.max_updates={options.updates}"]
    command += ["trainer.valid_sentences=50", "trainer.tensorboard=false"]
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        with (work / f"{name}.log").open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.execv(sys.executable, command)
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"{name} failed:\n{(work / f'{name}.log').read_text()}")
    return usage.ru_maxrss / 1024, time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix")
    parser.add_argument("valid")
    parser.add_argument("src")
    parser.add_argument("tgt")
    parser.add_argument("--first", type=int, default=20_000)
    parser.add_argument("--updates", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for language in (options.src, options.tgt):
            with opened(options.prefix, language) as lines, (work / f"first.{language}").open("wb") as out:
                out.writelines(islice(lines, options.first))
        few, few_seconds = train(work, "few", str(work / "first"), options)
        whole, whole_seconds = train(work, "whole", options.prefix, options)
        again, again_seconds = train(work, "again", options.prefix, options)
    print(f"{'corpus':<24}{'peak MB':>9}{'seconds':>9}   ({options.updates} updates and a validation each)")
    for name, peak, seconds in (
        (f"first {options.first}", few, few_seconds),
        ("whole", whole, whole_seconds),
        ("whole, a second time", again, again_seconds),
    ):
        print(f"{name:<24}{peak:>9.0f}{seconds:>9.1f}")
    print(f"whole / first: {whole / few:.2f}")


if __name__ == "__main__":
    main()
