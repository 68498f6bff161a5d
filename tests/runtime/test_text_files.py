"""Texts are opened by what they hold: plain, gzip, standard input; and written by their name; errors name the file."""

import errno
import gzip
import io
import os
import sys
import threading

import pytest

from nmt.runtime.text_files import open_input, open_output, read_lines

TEXT = b"eins\nzwei\n"


def lines(path) -> list[str]:
    return list(read_lines(path))


@pytest.mark.parametrize("name", ["text", "text.gz", "text.en"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda text: gzip.compress(text[:4]) + gzip.compress(text[4:])])
def test_gzip_is_known_by_its_bytes_whatever_the_name(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(TEXT))
    assert lines(tmp_path / name) == ["eins", "zwei"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pipe_is_read_without_losing_a_byte(tmp_path, pack):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(pack(TEXT)))
    writer.start()
    assert lines(tmp_path / "pipe") == ["eins", "zwei"]
    writer.join()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_dash_is_standard_input_which_stays_open(monkeypatch, pack):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pack(TEXT))))
    assert lines("-") == ["eins", "zwei"]
    assert not sys.stdin.buffer.closed


def test_an_empty_file_has_no_lines(tmp_path):
    (tmp_path / "empty.gz").touch()
    assert lines(tmp_path / "empty.gz") == []


def test_closed_standard_streams_are_said(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(ValueError, match="standard input is closed"):
        open_input("-")
    with pytest.raises(ValueError, match="standard output is closed: give out=FILE"):
        open_output("-")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(TEXT * 999, mtime=0)[:-9], "damaged or cut short after line .*: not a whole gzip file"),
        (b"caf\xe9\n", "line 1: not UTF-8, and not a whole gzip file"),
        (gzip.compress(b"a\ncaf\xe9\n", mtime=0), "line 2: not UTF-8 .* LATIN1"),
        (b"BZh91AY&SY", "compressed, but not by gzip; unpack it first: bzip2 -d"),
        (b"\xfd7zXZ\x00\x00\x04", "unpack it first: xz -d"),
        (b"\x28\xb5\x2f\xfd\x04", "unpack it first: zstd -d"),
        (b"PK\x03\x04\x14", "unpack it first: unzip"),
    ],
)
def test_what_is_no_text_is_one_line_that_names_the_file(tmp_path, content, said):
    (tmp_path / "text.gz").write_bytes(content)
    with pytest.raises(ValueError, match=f"text.gz.*{said}"):
        lines(tmp_path / "text.gz")


def test_a_name_that_ends_in_gz_is_written_as_gzip_and_equal_text_as_equal_bytes(tmp_path):
    for name in ("a.gz", "b.gz"):
        with open_output(tmp_path / name) as file:
            file.write(TEXT)
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == TEXT
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    with open_output(tmp_path / "a.gz", append=True) as file:
        file.write(TEXT)
    assert lines(tmp_path / "a.gz") == ["eins", "zwei"] * 2


def test_what_was_flushed_into_gzip_can_be_read_after_a_kill(tmp_path):
    file = open_output(tmp_path / "a.gz")
    file.write(TEXT)
    file.flush()
    with gzip.open(tmp_path / "a.gz") as reader:
        assert reader.read(len(TEXT)) == TEXT
    file.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_named_at_the_write(tmp_path):
    (tmp_path / "full.gz").symlink_to("/dev/full")
    for path in ("/dev/full", str(tmp_path / "full.gz")):
        with pytest.raises(OSError, match="No space left") as caught, open_output(path) as file:
            file.write(os.urandom(1 << 20))
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, path)
