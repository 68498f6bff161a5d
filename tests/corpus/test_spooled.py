"""Pairs of files that can be read only once: pipes."""

import contextlib
import os
import threading
from pathlib import Path

import pytest

from nmt.corpus import Pair, read_pair

SRC, TGT = "ä b\n\nc\r\nd\u2028e\n", "A\n\nC\nD"
PAIRS = [Pair("ä b", "A"), Pair("", ""), Pair("c", "C"), Pair("d\u2028e", "D")]


@pytest.fixture
def pipe(tmp_path):
    """pipe(name, text) -> a named pipe into which the text is written once."""
    writers = []

    def write(path: Path, content: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            path.write_bytes(content)

    def make(name: str, text: str | bytes) -> Path:
        path = tmp_path / name
        os.mkfifo(path)
        content = text if isinstance(text, bytes) else text.encode()
        writers.append(threading.Thread(target=write, args=(path, content), daemon=True))
        writers[-1].start()
        return path

    return make


def test_pipes_give_the_pairs_that_files_give_again_and_again(pipe, tmp_path):
    (tmp_path / "src").write_bytes(SRC.encode())
    (tmp_path / "tgt").write_bytes(TGT.encode())
    assert list(read_pair(tmp_path / "src", tmp_path / "tgt")) == PAIRS
    corpus = read_pair(pipe("a", SRC), pipe("b", TGT))
    assert list(corpus) == list(corpus) == PAIRS
    assert list(read_pair(pipe("c", SRC), tmp_path / "tgt")) == PAIRS
    assert list(read_pair(tmp_path / "src", pipe("d", TGT))) == PAIRS


def test_two_readers_of_a_pipe_do_not_disturb_each_other(pipe):
    corpus = read_pair(pipe("a", SRC), pipe("b", TGT))
    assert list(zip(corpus, corpus, strict=True)) == [(pair, pair) for pair in PAIRS]


def test_empty_pipes_are_an_empty_corpus(pipe):
    assert list(read_pair(pipe("a", ""), pipe("b", ""))) == []


def test_equal_pairs_have_equal_digests(pipe):
    one, other, third = (read_pair(pipe(f"a{n}", SRC), pipe(f"b{n}", tgt)) for n, tgt in enumerate([TGT, TGT, SRC]))
    assert one.digest() == other.digest() != third.digest()


@pytest.mark.parametrize(
    ("src", "said"), [(SRC + "x\n", "a has 5 lines but .*b has 4"), (b"x\n\xff\n", "a, line 2: not UTF-8")]
)
def test_what_cannot_be_paired_is_refused_at_once(pipe, src, said):
    with pytest.raises(ValueError, match=said):
        read_pair(pipe("a", src), pipe("b", TGT))


def test_one_pipe_for_both_sides_is_refused(pipe):
    path = pipe("a", SRC)
    with pytest.raises(ValueError, match="are the same pipe"):
        read_pair(path, path)
    path.read_bytes()


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(read_pair(tmp_path / "nowhere", tmp_path / "nowhere"))


def test_a_full_disk_is_named_with_what_to_try(pipe, monkeypatch):
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: open("/dev/full", "wb"))  # noqa: SIM115
    with pytest.raises(OSError, match=r"No space left on device; a is a pipe.*set TMPDIR"):
        read_pair(pipe("a", SRC), pipe("b", TGT))
