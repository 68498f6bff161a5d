"""Trainings of several names and seeds: one that fails is named, the others are in the table, and the status is 1."""

import json
import os
import subprocess
import time

import pytest

from scripts.training_jobs import is_finished, read_scores, run_jobs, scores_file, train_and_evaluate


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The modules that are called. nmt.train writes the state of `finished`, nmt.evaluate the scores."""
    called, finished = [], {"by": "trainer.max_updates"}

    def run(command, **_):
        called.append(command[2])
        if command[2] == "nmt.train":
            state = tmp_path / "run" / "checkpoints" / "last" / "state.json"
            state.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"finished": finished["by"]})
            if not state.exists() or state.read_text() != text:
                state.write_text(text)
                os.utime(state, ns=(10**18, len(called) * 10**18))
        else:
            scores = scores_file(tmp_path / "run")
            scores.parent.mkdir(exist_ok=True)
            scores.write_text('{"bleu": {"score": 30}}')
            os.utime(scores, ns=(10**18, len(called) * 10**18))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    return called, finished


def test_a_finished_run_is_evaluated_once_and_again_if_it_was_trained_further(tmp_path, commands):
    called, finished = commands
    train_and_evaluate(tmp_path / "run", [], evaluate=True)
    assert called == ["nmt.train", "nmt.evaluate"]
    assert read_scores(tmp_path / "run") == {"bleu": {"score": 30}}
    train_and_evaluate(tmp_path / "run", [], evaluate=True)
    assert called[2:] == ["nmt.train"]
    finished["by"] = "trainer.max_minutes"
    train_and_evaluate(tmp_path / "run", [], evaluate=True)
    assert called[3:] == ["nmt.train", "nmt.evaluate"]


def test_a_stopped_run_is_not_evaluated(tmp_path, commands):
    called, finished = commands
    assert not is_finished(tmp_path / "run")
    finished["by"] = ""
    with pytest.raises(SystemExit, match="was stopped; repeat the command"):
        train_and_evaluate(tmp_path / "run", [], evaluate=True)
    assert called == ["nmt.train"]
    assert read_scores(tmp_path / "run") is None


def test_no_training_is_started_after_ctrl_c():
    begun = []

    def interrupted(name: str, seed: int) -> int:
        begun.append(seed)
        time.sleep(0.02)  # so that not all are over before the first is noticed
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(interrupted, ["one"], range(100), jobs=1, table=str)
    assert len(begun) < 100


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
