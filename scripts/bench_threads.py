"""How fast training is with one and two threads, on a quiet machine and beside another busy program.

    python scripts/bench_threads.py data=files data.src=de data.tgt=en data.train=multi30k/train data.valid=multi30k/val

Words with `=` are those of `python -m nmt.train`; the recipe is multi30k's unless they name another. Rounds are
interleaved; a figure is the median, over rounds, of the target tokens a second in the later half of a run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, eq=False)
class Way:
    """threads of the training, and what the environment tells their library of waiting for each other."""

    threads: int
    environment: dict[str, str]

    def __str__(self) -> str:
        return " ".join([f"threads={self.threads}", *(f"{name}={value}" for name, value in self.environment.items())])


WAYS = (
    Way(1, {}),
    Way(2, {}),
    Way(2, {"GOMP_SPINCOUNT": "1000"}),
    Way(2, {"OMP_WAIT_POLICY": "passive"}),
)


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """So many other programs that do nothing but take a core."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(programs)]
    try:
        yield
    finally:
        for program in running:
            program.kill()
            program.wait()


def speed(way: Way, words: list[str], updates: int) -> float:
    """Target tokens a second."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "nmt.train", *words, f"threads={way.threads}", f"run={run}"]
        command += [f"trainer.max_updates={updates}", "trainer.max_minutes=null", "trainer.max_epochs=null"]
        command += ["trainer.tensorboard=false", "trainer.valid_sentences=1", f"trainer.log_every={updates // 4}"]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | way.environment, cwd=ROOT)
        lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        found = [line["tokens_per_second"] for line in lines if line["kind"] == "train"]
    return statistics.mean(found[len(found) // 2 :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as of `python -m nmt.train`")
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=1, help="other programs")
    options = parser.parse_intermixed_args()
    words = options.overrides
    words = [*([] if any("experiment=" in word for word in words) else ["+experiment=multi30k"]), *words]
    found: dict[tuple[Way, int], list[float]] = {(way, others): [] for way in WAYS for others in (0, options.busy)}
    for _ in range(options.rounds):
        for (way, others), speeds in found.items():
            with busy(others):
                speeds.append(speed(way, words, options.updates))
    print(f"{'target tokens a second':<36}{'quiet':>8}{f'{options.busy} busy':>8}")
    for way in WAYS:
        print(f"{way!s:<36}" + "".join(f"{statistics.median(found[way, n]):>8.0f}" for n in (0, options.busy)))


if __name__ == "__main__":
    main()
