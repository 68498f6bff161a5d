"""Run folders: one run at a time, the newest whole checkpoint, the one that is meant, and how many are kept."""

import concurrent.futures
import contextlib
import datetime
import itertools
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from nmt import checkpoint
from nmt.checkpoint import Snapshot, run_folder
from nmt.checkpoint.run_folder import RunFolder, find_checkpoint, new_run_folder, run_folder_of


class Words:
    def save(self, folder):
        (folder / "src_model.model").write_bytes(b"pieces")


def save(folder: Path, update: int) -> None:
    tensors = {"w": torch.full((4,), float(update))}
    checkpoint.write(folder, Snapshot(tensors, tensors, {"update": update}, {}), Words())


def damage(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))


def refusal(action) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        action()
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.fixture
def run(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.create("name: x\n")
    return folder


# A new run


def test_a_new_run_goes_into_a_folder_that_is_absent_or_empty_of_runs(tmp_path):
    RunFolder(tmp_path / "a" / "b").create("name: x\n")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README").write_text("mine")
    RunFolder(tmp_path / "notes").create("name: x\n")
    assert (tmp_path / "a" / "b" / "checkpoints").is_dir()


@pytest.mark.parametrize("name", ["config.yaml", "train.log", "metrics.jsonl", "checkpoints"])
def test_a_folder_that_holds_a_run_is_refused_and_left_as_it_is(tmp_path, name):
    (tmp_path / name).write_text("old")
    message = refusal(lambda: RunFolder(tmp_path).create("name: x\n"))
    assert f"resume={tmp_path}" in message
    assert "another run=" in message
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "old"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("x")
    assert "is a file" in refusal(RunFolder(tmp_path / "run").check_free)
    assert "is a file" in refusal(lambda: RunFolder(tmp_path / "run").lock().__enter__())


def test_an_evaluation_stays_in_the_run_folder(run):
    assert run.evaluation("test_2016_flickr") == run.path / "evaluation" / "test_2016_flickr"
    for name in ("../other", "/etc", "", ".", ".."):
        refusal(lambda name=name: run.evaluation(name))


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 11, 21, 3, 4, 5)

    monkeypatch.setattr(run_folder.datetime, "datetime", Clock)
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: stack.enter_context(new_run_folder(tmp_path / "runs")), range(8)))
    moment = "2026-11-21-030405"
    assert {run.path.name for run in made} == {moment, *(f"{moment}-{number}" for number in range(2, 9))}


def test_a_run_that_never_begins_leaves_no_folder(tmp_path):
    with new_run_folder(tmp_path / "runs" / "mine") as run:
        assert run.path.is_dir()
    assert os.listdir(tmp_path / "runs") == []
    with new_run_folder(tmp_path / "runs" / "mine") as run:
        run.create("name: x\n")
    assert run.config.is_file()


# The lock

ROOT = str(Path(run_folder.__file__).parents[2])
HOLDER = """
import os, sys, time
sys.path.insert(0, sys.argv[2])
from nmt.checkpoint.run_folder import RunFolder
with RunFolder(sys.argv[1]).lock():
    if sys.argv[3] == "fork" and not os.fork():
        print("held", os.getpid(), flush=True)
        time.sleep(60)
    if sys.argv[3] == "alone":
        print("held", os.getpid(), flush=True)
    time.sleep(60)
"""


def holder(path: Path, how: str) -> tuple[subprocess.Popen, int]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), ROOT, how], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    word, pid = process.stdout.readline().split()
    assert word == "held"
    return process, int(pid)


@pytest.mark.process
def test_a_second_run_is_refused_naming_the_first_until_that_is_killed(run):
    process, pid = holder(run.path, "alone")
    try:
        assert f"process {pid} on " in refusal(lambda: run.lock().__enter__())
        process.kill()
        process.wait()
        with run.lock():
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None


@pytest.mark.process
def test_a_child_that_outlives_a_killed_run_does_not_keep_its_lock(run):
    process, child = holder(run.path, "fork")
    try:
        assert f"process {process.pid} on " in refusal(lambda: run.lock().__enter__())
        process.kill()
        process.wait()
        os.kill(child, 0)  # alive
        with run.lock():
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_second_lock_in_one_process_is_refused_and_the_first_stays(run):
    with run.lock():
        assert f"process {os.getpid()} on " in refusal(lambda: RunFolder(run.path).lock().__enter__())
        assert "is training in it" in refusal(lambda: RunFolder(run.path).lock().__enter__())
    with run.lock():
        pass


def test_what_a_dead_writer_left_is_cleared_up_under_the_lock(run):
    save(run.last, 1)
    save(run.best, 1)
    run.last.rename(run.last.with_name("last.old"))
    checkpoint.hard_link(run.best, run.best.with_name("best.old"))
    (run.checkpoints / ".last.partial-12345").mkdir()
    (run.checkpoints / ".last.partial-12345" / "model.safetensors").write_text("half")
    assert checkpoint.read_update(run.last) == 1  # a reader finds it where it was set aside
    with run.lock():
        assert sorted(os.listdir(run.checkpoints)) == ["best", "last"]
    checkpoint.verify(run.last)


# Which checkpoint


def test_a_run_without_checkpoints_has_no_newest(run):
    assert run.latest_valid() is None
    assert RunFolder(run.path / "absent").latest_valid() is None


def test_the_newest_whole_is_the_one_of_the_most_updates(run, caplog):
    save(run.best, 20)
    save(run.step(30), 30)
    save(run.last, 30)
    assert run.latest_valid() == run.last
    save(run.step(200), 200)
    assert run.latest_valid() == run.step(200)
    assert not caplog.records


def test_damaged_checkpoints_are_passed_over_with_a_warning(run, caplog):
    save(run.best, 20)
    save(run.step(9), 9)
    save(run.step(100), 100)
    save(run.last, 120)
    expected = [run.last, run.step(100), run.best, run.step(9)]
    for place, following in itertools.pairwise(expected):
        damage(place)
        caplog.clear()
        assert run.latest_valid() == following
        assert all(record.levelno == logging.WARNING for record in caplog.records)
        assert f"{place / 'model.safetensors'}: damaged" in caplog.text
        assert f"going on from {following}" in caplog.text
    damage(run.step(9))
    assert "every checkpoint is damaged" in refusal(run.latest_valid)


def test_a_checkpoint_whose_state_is_gone_is_passed_over(run, caplog):
    save(run.best, 20)
    save(run.last, 30)
    (run.last / "state.json").unlink()
    assert run.latest_valid() == run.best
    assert "'state.json' is missing" in caplog.text


def test_pruning_keeps_the_newest_by_number_and_best_and_last(run):
    for update in (5, 10, 100, 20):
        save(run.step(update), update)
    save(run.last, 100)
    (run.checkpoints / "step-mine").mkdir()
    run.prune(0)
    run.prune(None)
    assert [place.name for place in run.steps()] == ["step-5", "step-10", "step-20", "step-100"]
    run.prune(2)
    assert sorted(os.listdir(run.checkpoints)) == ["last", "step-100", "step-20", "step-mine"]
    run.prune(7)
    assert len(run.steps()) == 2


def test_checkpoint_may_be_a_run_or_a_checkpoint(run):
    save(run.last, 3)
    assert find_checkpoint(run.path) == run.last
    with contextlib.chdir(run.path):
        assert find_checkpoint(".").resolve() == run.last
    save(run.best, 2)
    assert find_checkpoint(str(run.path)) == run.best
    assert find_checkpoint(run.last) == run.last
    run.best.rename(run.best.with_name("best.old"))  # while best is being replaced
    assert find_checkpoint(run.path) == find_checkpoint(run.best) == run.best.with_name("best.old")


def test_a_checkpoint_that_is_not_there_is_explained(run, tmp_path):
    assert "no such folder" in refusal(lambda: find_checkpoint(tmp_path / "gone"))
    assert "has written no checkpoint yet" in refusal(lambda: find_checkpoint(run.path))
    assert "neither a run folder nor a checkpoint" in refusal(lambda: find_checkpoint(tmp_path))
    (tmp_path / "file").write_text("x")
    assert "is a file" in refusal(lambda: find_checkpoint(tmp_path / "file"))


def test_the_run_of_a_checkpoint_is_where_its_evaluation_goes(run, monkeypatch):
    assert run_folder_of(run.best).path == run.path
    monkeypatch.chdir(run.checkpoints)
    assert run_folder_of(Path("best")).path == run.path
    assert run_folder_of(Path("/models/mine")).path == Path("/models")


def test_a_lock_is_refused_at_once(run):
    with run.lock():
        began = time.monotonic()
        refusal(lambda: run.lock().__enter__())
        assert time.monotonic() - began < 20
