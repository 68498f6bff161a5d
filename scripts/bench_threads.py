"""Measures the speed of training with one and two threads, on an idle machine and with another busy program.

    python scripts/bench_threads.py data=files data.src=de data.tgt=en data.train=multi30k/train data.valid=multi30k/val

Arguments KEY=VALUE are passed to `python -m nmt.train`; the default experiment is multi30k. Rounds are interleaved. The
numbers are medians over rounds of the target tokens per second in the second half of a run.
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
class Setting:
    """The number of threads, and environment variables that determine how threads wait for each other."""

    threads: int
    environment: dict[str, str]

    def __str__(self) -> str:
        return " ".join([f"threads={self.threads}", *(f"{name}={value}" for name, value in self.environment.items())])


SETTINGS = (
    Setting(1, {}),
    Setting(2, {}),
    Setting(2, {"GOMP_SPINCOUNT": "1000"}),
    Setting(2, {"OMP_WAIT_POLICY": "passive"}),
)


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """Runs this many other programs, each of which keeps one core busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(programs)]
    try:
        yield
    finally:
        for program in running:
            program.kill()
            program.wait()


def speed(setting: Setting, overrides: list[str], updates: int) -> float:
    """Trains for `updates` updates -> target tokens per second in the second half."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "nmt.train", *overrides, f"threads={setting.threads}", f"run={run}"]
        command += [f"trainer.max_updates={updates}", "trainer.max_minutes=null", "trainer.max_epochs=null"]
        command += ["trainer.tensorboard=false", "trainer.valid_sentences=1", f"trainer.log_every={updates // 4}"]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | setting.environment, cwd=ROOT)
        lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        found = [line["tokens_per_second"] for line in lines if line["kind"] == "train"]
    return statistics.mean(found[len(found) // 2 :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="settings of `python -m nmt.train`")
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=1, help="number of other busy programs")
    options = parser.parse_intermixed_args()
    overrides = options.overrides
    overrides = [
        *([] if any("experiment=" in override for override in overrides) else ["+experiment=multi30k"]),
        *overrides,
    ]
    found: dict[tuple[Setting, int], list[float]] = {
        (setting, others): [] for setting in SETTINGS for others in (0, options.busy)
    }
    for _ in range(options.rounds):
        for (setting, others), speeds in found.items():
            with busy(others):
                speeds.append(speed(setting, overrides, options.updates))
    print(f"{'target tokens a second':<36}{'quiet':>8}{f'{options.busy} busy':>8}")
    for setting in SETTINGS:
        print(f"{setting!s:<36}" + "".join(f"{statistics.median(found[setting, n]):>8.0f}" for n in (0, options.busy)))


if __name__ == "__main__":
    main()
