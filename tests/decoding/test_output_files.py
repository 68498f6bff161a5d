"""Files that were cut off keep their whole sentences, all of them the same number, and nothing else."""

import gzip
from pathlib import Path

import pytest

from nmt.decoding.output_files import OutputFile, truncate_to_common


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "sentences", "kept"),
    [("", 0, ""), ("a\nb\n", 2, "a\nb\n"), ("a\nb", 1, "a\n"), ("half", 0, ""), ("a\n\n\nb\r", 3, "a\n\n\n")],
)
def test_the_torn_line_goes_and_whole_ones_stay(tmp_path, text, sentences, kept):
    path = written(tmp_path / "out", text)
    assert truncate_to_common([OutputFile(path)]) == sentences
    assert path.read_bytes() == kept.encode()


def test_a_file_that_is_not_there_begins_empty(tmp_path):
    assert truncate_to_common([OutputFile(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_bytes() == b""


@pytest.mark.parametrize("other", ["out", "links.gz"])
def test_a_missing_file_does_not_empty_the_others(tmp_path, other):
    text, missing = written(tmp_path / "text", "a\nb\nc"), tmp_path / other
    for outputs in ([OutputFile(text), OutputFile(missing)], [OutputFile(missing), OutputFile(text)]):
        with pytest.raises(ValueError, match=f"{other}: no such file, and .*text has 2 line"):
            truncate_to_common(outputs)
    assert text.read_text() == "a\nb\nc"
    assert not missing.exists()


def test_files_are_cut_to_the_one_with_the_fewest_sentences(tmp_path):
    text = written(tmp_path / "out", "a\nb\nc\nd")
    links = written(tmp_path / "links", "0-0\n1-1\n")
    assert truncate_to_common([OutputFile(text), OutputFile(links)]) == 2
    assert text.read_text() == "a\nb\n"
    assert links.read_text() == "0-0\n1-1\n"


def test_of_numbered_lines_the_last_sentence_goes_since_more_of_it_may_have_been_to_come(tmp_path):
    path = written(tmp_path / "out", "0 ||| a ||| -1\n0 ||| b ||| -2\n1 ||| c ||| -1\n1 ||| d ||| -2\n2 ||| e ||")
    assert truncate_to_common([OutputFile(path, numbered=True)]) == 1
    assert path.read_text() == "0 ||| a ||| -1\n0 ||| b ||| -2\n"


def test_a_file_without_numbers_is_no_numbered_one(tmp_path):
    path = written(tmp_path / "out", "a\nb\n")
    with pytest.raises(ValueError, match="line 1: does not begin with a sentence's number"):
        truncate_to_common([OutputFile(path, numbered=True)])
    assert path.read_text() == "a\nb\n"


@pytest.mark.parametrize("cut", [1, 9, 40, 10_000])
def test_a_gzip_file_that_was_cut_off_keeps_its_whole_lines(tmp_path, cut):
    path, text = tmp_path / "out.gz", "".join(f"line {number * 7919}\n" for number in range(99))
    packed = gzip.compress(text.encode())
    path.write_bytes(packed[:-cut])
    path.chmod(0o640)
    sentences = truncate_to_common([OutputFile(path)])
    kept = gzip.decompress(path.read_bytes()).decode()
    assert text.startswith(kept)
    assert kept.count("\n") == sentences
    assert sentences >= 90 or cut > 10
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["out.gz"]


@pytest.mark.parametrize("name", ["out", "out.gz"])
def test_a_file_goes_on_in_the_form_that_its_name_asks_for(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"a\nb") if name == "out" else b"a\nb")
    assert truncate_to_common([OutputFile(path)]) == 1
    assert (path.read_bytes() if name == "out" else gzip.decompress(path.read_bytes())) == b"a\n"
