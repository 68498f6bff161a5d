"""Reading pairs: what is accepted, and what each kind of bad input is told."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nmt.data.corpus import Blank, Corpus, Pair, read_files, read_hub

ROWS = [{"translation": {"de": f"hallo {i}", "en": f"hello {i}"}} for i in range(10)]


def write(folder: Path, de: bytes | str, en: bytes | str, name: str = "train") -> str:
    for language, content in (("de", de), ("en", en)):
        (folder / f"{name}.{language}").write_bytes(content.encode() if isinstance(content, str) else content)
    return str(folder / name)


def read(prefix: str, **options) -> list[Pair]:
    return list(read_files([prefix], "de", "en", **options))


def message_of(action) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_two_files_give_their_lines_in_pairs(tmp_path):
    assert read(write(tmp_path, "ein\nzwei\n", "one\ntwo\n")) == [Pair("ein", "one"), Pair("zwei", "two")]


def test_the_last_line_needs_no_line_feed(tmp_path):
    assert read(write(tmp_path, "ein\nzwei", "one\ntwo\n"))[-1] == Pair("zwei", "two")


def test_a_corpus_can_be_read_twice(tmp_path):
    corpus = read_files([write(tmp_path, "ein\nzwei\n", "one\ntwo\n")], "de", "en")
    assert list(corpus) == list(corpus)


def test_languages_can_be_swapped(tmp_path):
    assert list(read_files([write(tmp_path, "ein\n", "one\n")], "en", "de")) == [Pair("one", "ein")]


def test_prefixes_follow_one_another(tmp_path):
    prefixes = [write(tmp_path, "ein\n", "one\n", "a"), write(tmp_path, "zwei\n", "two\n", "b")]
    corpus = read_files(prefixes, "de", "en")
    assert list(corpus) == [Pair("ein", "one"), Pair("zwei", "two")]
    assert corpus.name == "b"


def test_gzipped_files_read_like_plain_ones(tmp_path):
    for language, line in (("de", "ein\n"), ("en", "one\n")):
        (tmp_path / f"train.{language}.gz").write_bytes(gzip.compress(line.encode()))
    assert read(str(tmp_path / "train")) == [Pair("ein", "one")]


def test_the_plain_file_wins_over_the_gzipped(tmp_path):
    prefix = write(tmp_path, "plain\n", "plain\n")
    (tmp_path / "train.de.gz").write_bytes(gzip.compress(b"zipped\n"))
    assert read(prefix) == [Pair("plain", "plain")]


@pytest.mark.parametrize("name", ["train.tsv", "train.tsv.gz"])
def test_a_table_has_the_source_first(tmp_path, name):
    content = b"ein\tone\nzwei\ttwo\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    corpus = read_files([tmp_path / name], "de", "en")
    assert list(corpus) == [Pair("ein", "one"), Pair("zwei", "two")]
    assert corpus.name == "train"


def test_a_heading_in_a_table_names_its_columns(tmp_path):
    (tmp_path / "train.tsv").write_text("en\tde\none\tein\n")
    assert read(str(tmp_path / "train.tsv")) == [Pair("ein", "one")]


def test_a_table_row_with_three_columns_is_named(tmp_path):
    (tmp_path / "train.tsv").write_text("ein\tone\nzwei\ttwo\tdeux\n")
    message = message_of(lambda: read(str(tmp_path / "train.tsv")))
    assert "train.tsv, line 2: 3 column" in message


def test_a_missing_file_is_named_with_what_to_try(tmp_path):
    message = message_of(lambda: read(str(tmp_path / "nope")))
    assert f"no such file: {tmp_path}/nope.de (nor {tmp_path}/nope.de.gz)" in message
    assert "data.train is the path without the language suffix" in message


def test_a_path_with_its_suffix_is_told_the_prefix(tmp_path):
    prefix = write(tmp_path, "ein\n", "one\n")
    message = message_of(lambda: read(f"{prefix}.en", key="data.valid"))
    assert message.endswith(f"try data.valid={prefix}")


def test_an_empty_file_is_named(tmp_path):
    assert "train.en is empty" in message_of(lambda: read(write(tmp_path, "ein\n", "")))


def test_a_gzipped_empty_file_is_named(tmp_path):
    prefix = write(tmp_path, "ein\n", "one\n")
    (tmp_path / "train.de").unlink()
    (tmp_path / "train.de.gz").write_bytes(gzip.compress(b""))
    assert "train.de.gz is empty" in message_of(lambda: read(prefix))


@pytest.mark.parametrize(("de", "en", "counts"), [("a\nb\nc\nd\n", "a\nb\n", "42"), ("a\n", "a\nb\nc\n", "13")])
def test_unequal_counts_are_both_said_with_both_names(tmp_path, de, en, counts):
    message = message_of(lambda: read(write(tmp_path, de, en)))
    assert f"train.de has {counts[0]} lines but {tmp_path}/train.en has {counts[1]}" in message


@pytest.mark.parametrize(("de", "en", "side"), [("a\n \nc\n", "a\nb\nc\n", "de"), ("a\nb\n", "a\n\n", "en")])
def test_a_line_blank_on_one_side_is_named(tmp_path, de, en, side):
    message = message_of(lambda: read(write(tmp_path, de, en)))
    assert message.startswith(f"{tmp_path}/train.{side}, line 2" if side == "de" else "line 2 of")
    assert f"train.{side}" in message.split("is blank")[0]
    assert "data.blank=skip" in message


@pytest.mark.parametrize("blank", [Blank.skip, Blank.keep])
def test_a_line_blank_on_one_side_is_still_read_on_request(tmp_path, blank):
    assert read(write(tmp_path, "a\n\n", "a\nb\n"), blank=blank)[1] == Pair("", "b")


def test_lines_blank_on_both_sides_are_read(tmp_path):
    assert read(write(tmp_path, "a\n\nc\n", "a\n\nc\n"))[1] == Pair("", "")


def test_bytes_that_are_not_utf8_are_told_with_their_line(tmp_path):
    message = message_of(lambda: read(write(tmp_path, "ein\nschön\n".encode("latin1"), "one\ntwo\n")))
    assert "train.de, line 2: not UTF-8" in message


def test_utf16_is_recognised(tmp_path):
    assert "UTF-16" in message_of(lambda: read(write(tmp_path, "ein\n".encode("utf-16"), "one\n")))


def test_carriage_returns_do_not_shift_the_pairing(tmp_path):
    assert read(write(tmp_path, "ein\r\nzwei\r\n", "one\ntwo\n")) == [Pair("ein", "one"), Pair("zwei", "two")]


def test_a_byte_order_mark_is_no_text(tmp_path):
    assert read(write(tmp_path, "\ufeffein\n", "one\n")) == [Pair("ein", "one")]


@pytest.mark.parametrize("odd", list("\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\t\r\x00"))
def test_odd_characters_do_not_shift_the_pairing(tmp_path, odd):
    assert read(write(tmp_path, f"a{odd}b\nzwei\n", "one\ntwo\n")) == [Pair(f"a{odd}b", "one"), Pair("zwei", "two")]


@pytest.mark.parametrize("damage", [lambda b: b[:-20], lambda b: b[:200] + b"xxxx" + b[204:], lambda b: b"text\n" + b])
def test_damaged_gzip_is_one_clear_line(tmp_path, damage):
    prefix = write(tmp_path, "ein\n", "".join(f"line {i}\n" for i in range(999)))
    packed = gzip.compress((tmp_path / "train.en").read_bytes())
    (tmp_path / "train.en").unlink()
    (tmp_path / "train.en.gz").write_bytes(damage(packed))
    (tmp_path / "train.de").write_text("zeile\n" * 999)
    assert "not a whole gzip file" in message_of(lambda: read(prefix))


def test_digests_follow_content(tmp_path):
    digest = read_files([write(tmp_path, "ein\n", "one\n", "a")], "de", "en").digest()
    assert read_files([write(tmp_path, "ein\n", "one\n", "b")], "de", "en").digest() == digest
    assert read_files([write(tmp_path, "ein\n", "two\n", "b")], "de", "en").digest() != digest
    assert read_files([str(tmp_path / "a")], "en", "de").digest() != digest


@pytest.mark.process
def test_reading_files_does_not_import_the_datasets_library():
    code = "import sys, nmt.data.corpus; sys.exit('datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def hub(tmp_path):
    pytest.importorskip("datasets").disable_progress_bars()
    return lambda path, split="train", src="de", **o: read_hub(
        str(path), None, split, src, "en", cache=tmp_path / "c", **o
    )


def test_nested_and_flat_rows_read_alike(tmp_path, hub):
    (tmp_path / "nested.json").write_text("\n".join(json.dumps(row) for row in ROWS))
    (tmp_path / "flat.jsonl").write_text("\n".join(json.dumps(row["translation"]) for row in ROWS))
    nested, flat = list(hub(tmp_path / "nested.json")), list(hub(tmp_path / "flat.jsonl"))
    assert nested == flat == [Pair(f"hallo {i}", f"hello {i}") for i in range(10)]


@pytest.fixture
def parquet(tmp_path) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "folder").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "folder" / "train.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS[:3]), tmp_path / "folder" / "test.parquet")
    return tmp_path / "folder"


def test_a_folder_of_parquet_has_its_splits(parquet, hub):
    assert len(list(hub(parquet, "test"))) == 3


def test_a_split_can_be_sliced(parquet, hub):
    corpus = hub(parquet, "train[2:4]")
    assert list(corpus) == [Pair("hallo 2", "hello 2"), Pair("hallo 3", "hello 3")]
    assert corpus.name == "folder-train-2-4"


def test_slices_of_a_hub_corpus_have_digests_of_their_own(parquet, hub):
    digest = hub(parquet, "train[:3]").digest()
    assert hub(parquet, "train[:3]").digest() == digest
    assert hub(parquet, "train[1:4]").digest() != digest


def test_a_folder_saved_by_the_library_reads_too(tmp_path, hub):
    import datasets

    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "saved")
    assert list(hub(tmp_path / "saved", "train[1:2]")) == [Pair("hallo 1", "hello 1")]


def test_an_unknown_column_is_told_the_columns_there_are(parquet, hub):
    assert "no 'fr'; its languages are: de, en" in message_of(lambda: hub(parquet, src="fr"))


def test_an_unknown_split_is_told_the_splits_there_are(parquet, hub):
    message = message_of(lambda: hub(parquet, "nope", key="data.valid"))
    assert "data.valid=nope" in message
    assert "train" in message


def test_no_network_is_one_line(monkeypatch, hub):
    import datasets

    def refuse(*args, **options):
        raise ConnectionError("Couldn't reach the Hub\nRetrying\n")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    message = message_of(lambda: hub("someone/corpus"))
    assert "data.name=someone/corpus" in message
    assert "Couldn't reach the Hub" in message


def test_a_row_of_two_lines_is_one_line(tmp_path, hub):
    (tmp_path / "a.jsonl").write_text(json.dumps({"de": "ein\nzwei", "en": None}))
    assert list(hub(tmp_path / "a.jsonl", blank=Blank.keep)) == [Pair("ein zwei", "")]


def test_a_row_blank_on_one_side_is_named(tmp_path, hub):
    (tmp_path / "a.jsonl").write_text(json.dumps({"de": "ein", "en": " "}))
    assert "row 0, 'en' is blank" in message_of(lambda: list(hub(tmp_path / "a.jsonl")))


def test_both_readers_give_a_corpus(tmp_path, parquet, hub):
    assert isinstance(read_files([write(tmp_path, "ein\n", "one\n")], "de", "en"), Corpus)
    assert isinstance(hub(parquet), Corpus)


def test_multi30k_is_29000_pairs(corpora):
    corpus = read_files([corpora / "multi30k" / "train"], "de", "en")
    assert sum(1 for _ in corpus) == 29000


def test_hashing_two_hundred_thousand_lines_takes_less_than_a_second(corpora):
    corpus = read_files([corpora / "europarl-en-fr" / "train"], "en", "fr")
    start = time.perf_counter()
    corpus.digest()
    assert time.perf_counter() - start < 1
