"""Trainings of several names and seeds: one that fails is named, the others are in the table, and the status is 1."""

import pytest

from scripts.training_jobs import run_jobs


def train(name: str, seed: int) -> int:
    if (name, seed) == ("bad", 2):
        raise SystemExit("bad, seed 2: ended with 2")
    return seed


def show(results: dict[str, list[int]]) -> str:
    return " ".join(f"{name}:{sorted(found)}" for name, found in results.items())


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_table_has_every_training(capsys, jobs):
    run_jobs(train, ["good", "other"], [1, 2], jobs=jobs, table=show)
    assert capsys.readouterr().out.splitlines()[-1] == "good:[1, 2] other:[1, 2]"


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_training_that_fails_is_named_and_the_others_go_on(capsys, jobs):
    with pytest.raises(SystemExit) as ended:
        run_jobs(train, ["bad", "good"], [1, 2], jobs=jobs, table=show)
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "bad:[1] good:[1, 2]"
    assert said.err == "bad, seed 2: ended with 2\n"
