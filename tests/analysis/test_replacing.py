"""A folder of results stays as it was until the new ones are whole."""

import os
import signal
import subprocess
import sys

import pytest

from nmt.analysis.replacing import replacing

NAMES = ("text", "extra", "pictures", "scores")


def tree(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write(folder, **content):
    for name, text in content.items():
        path = folder / name.replace("__", "/").replace("_png", ".png")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.fixture
def old(tmp_path):
    """A folder of old results, and of something else."""
    write(tmp_path, text="old", extra="old", pictures__0_png="old", pictures__7_png="old", scores="old", mine="mine")
    return tmp_path


def test_new_results_take_the_places_of_all_old_ones_and_leave_what_is_not_theirs(old):
    with replacing(old, NAMES) as folder:
        write(folder, text="new", pictures__0_png="new", scores="new")
        assert (old / "scores").read_text() == "old"
    assert tree(old) == {"text": "new", "pictures/0.png": "new", "scores": "new", "mine": "mine"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_error_the_old_results_are_there_and_nothing_else(old, error):
    def fail():
        with replacing(old, NAMES) as folder:
            write(folder, text="new")
            raise error

    before = tree(old)
    with pytest.raises(error):
        fail()
    assert tree(old) == before
    assert not list(old.glob(".*"))


def test_after_an_error_a_new_folder_is_gone(tmp_path):
    with pytest.raises(ValueError, match="no"), replacing(tmp_path / "a" / "b", NAMES):
        raise ValueError("no")
    assert not list(tmp_path.iterdir())


def test_the_last_name_is_absent_while_the_others_move(old, monkeypatch):
    move = type(old).replace
    seen = []

    def watched(self, target):
        seen.append((target.name, (old / "scores").exists()))
        return move(self, target)

    monkeypatch.setattr(type(old), "replace", watched)
    with replacing(old, NAMES) as folder:
        write(folder, text="new", scores="new")
    assert seen == [("text", False), ("scores", False)]


def test_what_a_killed_process_left_is_deleted_and_what_a_living_one_writes_is_not(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from nmt.analysis.replacing import replacing\n"
        "with replacing(Path(sys.argv[1]), ['scores']) as folder:\n"
        "    (folder / 'scores').write_text('other'); print('ready', flush=True); time.sleep(600)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, env=os.environ)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        with replacing(tmp_path, NAMES):
            assert len(list(tmp_path.glob(".partial-*"))) == 2
        assert len(list(tmp_path.glob(".partial-*"))) == 1
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    with replacing(tmp_path, NAMES):
        assert len(list(tmp_path.glob(".partial-*"))) == 1
    assert not list(tmp_path.glob(".partial-*"))
