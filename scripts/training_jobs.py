"""Runs several trainings at a time, for scripts that print tables of results."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


def train_and_evaluate(run: Path, words: list[str], *, evaluate: bool) -> None:
    """Trains the folder `run` with arguments of nmt.train, and translates and scores its test set into RUN.scores.

    A stopped run is resumed, and what is done is not repeated. The output goes to RUN.log. Raises SystemExit if a
    command fails or is stopped.
    """
    _call(run, ["nmt.train", "trainer.calibrate=false", *words, f"run={run}", "resume=auto"])
    check_finished(run)
    scores = scores_file(run)
    if evaluate and not (scores.exists() and scores.stat().st_mtime > _state(run).stat().st_mtime):
        words = [f"checkpoint={run}", f"out={scores.parent}", "heatmaps=0", "metrics=[bleu]", "threads=1"]
        _call(run, ["nmt.evaluate", *words])


def is_finished(run: Path) -> bool:
    """Whether a training has ended by its own limits. False if there is none."""
    return _state(run).exists() and bool(json.loads(_state(run).read_text(encoding="utf-8"))["finished"])


def check_finished(run: Path) -> None:
    """Raises SystemExit if a training has been stopped."""
    if not is_finished(run):
        raise SystemExit(f"{run}: the training was stopped; repeat the command to continue it")


def _state(run: Path) -> Path:
    return run / "checkpoints" / "last" / "state.json"


def _call(run: Path, command: list[str]) -> None:
    log = Path(f"{run}.log")
    with log.open("a", encoding="utf-8") as file:
        done = subprocess.run([sys.executable, "-m", *command], stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {done.returncode}: see {log}")


def scores_file(run: Path) -> Path:
    """The file with the scores of a run's test set."""
    return Path(f"{run}.scores") / "scores.json"


def read_scores(run: Path) -> dict | None:
    """The scores of the test set, by `train_and_evaluate`; None if it is not evaluated."""
    file = scores_file(run)
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def read_metrics(run: Path, kind: str) -> list[dict]:
    """The lines of metrics.jsonl of one kind, "train" or "valid"."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == kind]


def training_speed(run: Path) -> float:
    """Target tokens per second in training, the median of the logged values; 0 without a value."""
    speeds = [line["tokens_per_second"] for line in read_metrics(run, "train")]
    return statistics.median(speeds) if speeds else 0.0


def mean_and_deviation(values: list[float]) -> str:
    """The mean with two decimals, and the standard deviation if there are several values."""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def run_jobs(
    train: Callable[[str, int], Result],
    names: Iterable[str],
    seeds: Iterable[int],
    *,
    jobs: int,
    table: Callable[[dict[str, list[Result]]], str],
) -> None:
    """Calls train(name, seed) for each name and seed, `jobs` at a time, and prints the table of results after each.

    If a training raises SystemExit, its message is printed to standard error, the table does not include it, and the
    program exits with status 1 at the end. After another exception, Ctrl-C included, no further training is started.
    """
    results: dict[str, list[Result]] = {name: [] for name in names}
    failed = False
    with ThreadPoolExecutor(jobs) as pool:
        runs = {pool.submit(train, name, seed): name for name in results for seed in seeds}
        try:
            for run in as_completed(runs):
                try:
                    results[runs[run]].append(run.result())
                except SystemExit as error:
                    failed = True
                    print(error, file=sys.stderr, flush=True)
                if found := {name: each for name, each in results.items() if each}:
                    print(table(found), flush=True)
        except BaseException:  # Ctrl-C, or an error of this program
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failed:
        sys.exit(1)
