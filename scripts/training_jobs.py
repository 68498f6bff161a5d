"""Runs several trainings at a time, for scripts that print tables of results."""

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

Result = TypeVar("Result")


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
