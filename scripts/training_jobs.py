"""Runs several trainings at a time, for scripts that print tables of results."""

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


def train_and_evaluate(run: Path, words: list[str], *, evaluate: bool) -> None:
    """Trains the folder `run` with arguments of nmt.train, and scores its test set by BLEU unless that is done. A
    stopped run is resumed. The output goes to RUN.log. Raises SystemExit if a command fails."""
    commands = [["nmt.train", *words, f"run={run}", "resume=auto"]]
    if evaluate:
        commands.append(["nmt.evaluate", f"checkpoint={run}", "heatmaps=0", "metrics=[bleu]", "threads=1"])
    log = Path(f"{run}.log")
    for command in [] if list(run.glob("evaluation/*/scores.json")) else commands:
        with log.open("a", encoding="utf-8") as file:
            done = subprocess.run([sys.executable, "-m", *command], stdout=file, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: ended with {done.returncode}: see {log}")


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
    program exits with status 1 at the end.
    """
    results: dict[str, list[Result]] = {name: [] for name in names}
    failed = False
    with ThreadPoolExecutor(jobs) as pool:
        runs = {pool.submit(train, name, seed): name for name in results for seed in seeds}
        for run in as_completed(runs):
            try:
                results[runs[run]].append(run.result())
            except SystemExit as error:
                failed = True
                print(error, file=sys.stderr, flush=True)
            if found := {name: each for name, each in results.items() if each}:
                print(table(found), flush=True)
    if failed:
        sys.exit(1)
