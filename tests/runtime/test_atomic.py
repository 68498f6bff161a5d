"""What a killed writer leaves in the cache is removed by the next run, and what a living one writes is not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import nmt
from nmt.corpus import read_files
from nmt.data.binarized import binarize_corpus
from nmt.data.tokenizer import ModelType
from nmt.demo_corpus import write_demo
from nmt.runtime.atomic import remove_abandoned, written_beside
from tests.support.tokenizers import train_tokenizer

# Writes what the first argument says into the folder of the second, and waits in the middle of it.
WRITER = """
import sys, time
from pathlib import Path
from nmt.runtime.atomic import written_beside
name, folder = sys.argv[1:]
with written_beside(Path(folder) / name, folder=name.startswith("tokenizer")) as beside:
    (beside / "joint.model" if beside.is_dir() else beside).write_text("half")
    print("waiting", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path):
    """A function that starts a writer of a name; all are killed at the end."""
    started = []

    def start(name: str, folder: Path = tmp_path) -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": str(Path(nmt.__file__).parents[1])}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", WRITER, name, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
            )
        )
        assert started[-1].stdout.readline() == "waiting\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def hidden(folder: Path) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in folder.iterdir() if path.name.startswith("."))


def next_run(folder: Path) -> None:
    """Trains a tokenizer and encodes a corpus, or finds both in the cache."""
    (folder / "text.de").write_text("ein haus\n")
    (folder / "text.en").write_text("a house\n")
    corpus = read_files([folder / "text"], "de", "en")
    options = {
        "joint": True,
        "vocab_size": 20,
        "byte_fallback": False,
        "input_sentence_size": 9,
        "seed": 1,
    }
    tokenizer = train_tokenizer(corpus, model_type=ModelType.bpe, character_coverage=1.0, cache=folder, **options)
    binarize_corpus(corpus, tokenizer, max_length=None, skip=True, cache=folder)


@pytest.mark.parametrize("name", ["encoded-123.arrow", "tokenizer-123"])
@pytest.mark.parametrize("found", [True, False])
def test_what_a_killed_writer_left_is_removed_by_the_next_run(tmp_path, writer, name, found):
    if found:
        next_run(tmp_path)  # so that the next one writes nothing
    process = writer(name)
    assert hidden(tmp_path) == [f".{name}"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert hidden(tmp_path) == [f".{name}"]
    next_run(tmp_path)
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("name", ["encoded-123.arrow", "tokenizer-123"])
def test_what_a_living_writer_writes_stays(tmp_path, writer, name):
    writer(name)
    next_run(tmp_path)
    assert hidden(tmp_path) == [f".{name}"]


def test_the_demo_corpus_leaves_nothing_either(tmp_path, writer):
    process = writer("train.en")
    process.kill()
    process.wait()
    write_demo(tmp_path, train=3, valid=1, test=1, seed=1)
    assert hidden(tmp_path) == []


def test_leftovers_of_before_there_were_locks_are_removed(tmp_path):
    (tmp_path / ".encoded-123-abc").write_text("half")
    remove_abandoned(tmp_path, "encoded-")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [True, False])
def test_a_failed_writer_leaves_what_was_there(tmp_path, folder):
    place = tmp_path / "encoded-1"
    place.write_text("whole")
    with pytest.raises(ValueError, match="broken"), written_beside(place, folder=folder):
        raise ValueError("broken")
    assert [path.name for path in tmp_path.iterdir()] == ["encoded-1"]
    assert place.read_text() == "whole"
