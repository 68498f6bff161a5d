"""Reading pairs: what is accepted, and what each kind of bad input is told."""

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nmt.corpus import Corpus, EmptyLines, Pair, read_files, read_hub

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
    assert "data.empty_lines=skip" in message


@pytest.mark.parametrize("blank", [EmptyLines.skip, EmptyLines.keep])
def test_a_line_blank_on_one_side_is_still_read_on_request(tmp_path, blank):
    assert read(write(tmp_path, "a\n\n", "a\nb\n"), empty_lines=blank)[1] == Pair("", "b")


def test_lines_blank_on_both_sides_are_read(tmp_path):
    assert read(write(tmp_path, "a\n\nc\n", "a\n\nc\n"))[1] == Pair("", "")


def test_bytes_that_are_not_utf8_are_told_with_their_line(tmp_path):
    message = message_of(lambda: read(write(tmp_path, "ein\nschön\n".encode("latin1"), "one\ntwo\n")))
    assert "train.de, line 2: not UTF-8" in message


def test_utf16_is_recognized(tmp_path):
    assert "UTF-16" in message_of(lambda: read(write(tmp_path, "ein\n".encode("utf-16"), "one\n")))


def test_carriage_returns_do_not_shift_the_pairing(tmp_path):
    assert read(write(tmp_path, "ein\r\nzwei\r\n", "one\ntwo\n")) == [Pair("ein", "one"), Pair("zwei", "two")]


@pytest.mark.parametrize("end", ["", "\r", "\r\n"])
def test_carriage_returns_alone_are_told_what_to_try(tmp_path, hub, end):
    message = message_of(lambda: read(write(tmp_path, "ein\rzwei" + end, "one\rtwo" + end)))
    assert (
        message
        == f"{tmp_path}/train.de: its lines end in carriage returns alone; try: tr '\\r' '\\n' < {tmp_path}/train.de"
    )
    for name, separator in (("a.csv", ","), ("a.tsv", "\t")):
        (tmp_path / name).write_bytes(f"de{separator}en\rein{separator}one{end}".encode())
        assert f"{name}: its lines end in carriage returns alone" in message_of(lambda: hub(tmp_path / name))  # noqa: B023


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
    code = "import sys, nmt.corpus; sys.exit('datasets' in sys.modules)"
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


@pytest.mark.parametrize("name", ["train.parquet", ""])
def test_a_changed_parquet_file_of_the_same_time_is_read_anew(parquet, hub, name):
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert len(list(hub(parquet / name))) == 10
    before = (parquet / "train.parquet").stat()
    pq.write_table(pa.Table.from_pylist(ROWS[:4]), parquet / "train.parquet")
    os.utime(parquet / "train.parquet", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(list(hub(parquet / name))) == 4


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
    assert "no column 'fr'; its columns are: de, en" in message_of(lambda: hub(parquet, src="fr"))


def test_an_unknown_split_is_told_the_splits_there_are(parquet, hub):
    message = message_of(lambda: hub(parquet, "nope", key="data.valid"))
    assert "data.valid=nope" in message
    assert "train" in message


def test_no_network_is_one_line(monkeypatch, hub):
    import datasets

    def refuse(*args, **options):
        raise ConnectionError("Couldn't reach the Hub\nRetrying\n")

    monkeypatch.setattr(datasets, "load_dataset_builder", refuse)
    message = message_of(lambda: hub("someone/corpus"))
    assert "data.name=someone/corpus" in message
    assert "Couldn't reach the Hub" in message


def test_a_row_of_two_lines_is_one_line(tmp_path, hub):
    (tmp_path / "a.jsonl").write_text(json.dumps({"de": "ein\nzwei", "en": None}))
    assert list(hub(tmp_path / "a.jsonl", empty_lines=EmptyLines.keep)) == [Pair("ein zwei", "")]


def test_a_row_blank_on_one_side_is_named(tmp_path, hub):
    (tmp_path / "a.jsonl").write_text(json.dumps({"de": "ein", "en": " "}))
    assert "row 0, column 'en' is blank" in message_of(lambda: list(hub(tmp_path / "a.jsonl")))


# Text is text: files of rows


TEXTS = ["None", "null", "NA", "N/A", "nan", "007", "1.50", "1e5", "1,000", "true", "2020-01-01", "-", " a ", "'", "ﬁ"]


@pytest.mark.parametrize("ending", [".gz", ""])
@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "ndjson"])
def test_no_word_of_a_file_of_rows_becomes_a_number_a_date_or_nothing(tmp_path, hub, kind, ending):
    rows = [{"de": text, "id": 3, "en": text[::-1]} for text in TEXTS]
    if kind in ("csv", "tsv"):
        separator = "\t" if kind == "tsv" else ","
        cells = [["de", "id", "en"], *([f'"{row["de"]}"', "3", f'"{row["en"]}"'] for row in rows)]
        if kind == "tsv":  # where quotes mean nothing
            cells = [[cell.strip('"') for cell in row] for row in cells]
        content = "".join(separator.join(row) + "\n" for row in cells)
    else:
        content = json.dumps(rows, indent=1) if kind == "json" else "\n".join(map(json.dumps, rows))
    path = tmp_path / f"text.{kind}{ending}"
    path.write_bytes(gzip.compress(content.encode()) if ending else content.encode())
    assert list(hub(path)) == [Pair(text, text[::-1]) for text in TEXTS]


def test_a_folder_of_tables_has_splits_and_keeps_their_words(tmp_path, hub):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "train.csv").write_text("de,en\n007,NA\n1,2\n3,4\n")
    (tmp_path / "f" / "test.csv.gz").write_bytes(gzip.compress(b"de,en\nnull,None\n"))
    assert list(hub(tmp_path / "f", "train[:1]+test")) == [Pair("007", "NA"), Pair("null", "None")]
    assert "has no split 'dev'; it has: train, test" in message_of(lambda: hub(tmp_path / "f", "dev"))


def test_several_files_are_one_by_a_pattern(tmp_path, hub):
    for name in "ab":
        (tmp_path / f"{name}.tsv").write_text(f"de\ten\n{name}\t0{name}\n")
    assert list(hub(tmp_path / "*.tsv")) == [Pair("a", "0a"), Pair("b", "0b")]


def test_a_file_with_brackets_in_its_name_is_no_pattern(tmp_path, hub):
    for name in ("a1", "a[1]"):
        (tmp_path / f"{name}.tsv").write_text(f"de\ten\n{name}\tx\n")
    assert list(hub(tmp_path / "a[1].tsv")) == [Pair("a[1]", "x")]


def test_a_changed_file_is_read_anew(tmp_path, hub):
    for text in ("eins", "zwei"):
        (tmp_path / "a.csv").write_text(f"de,en\n{text},x\n")
        assert list(hub(tmp_path / "a.csv")) == [Pair(text, "x")]


def test_quotes_in_csv_hold_commas_and_line_ends(tmp_path, hub):
    (tmp_path / "a.csv").write_text('de,en\n"a, ""b""\nc",d\n')
    assert list(hub(tmp_path / "a.csv")) == [Pair('a, "b" c', "d")]


def test_quotes_in_tsv_are_text(tmp_path, hub):
    (tmp_path / "a.tsv").write_text('de\ten\n"a\t"b""\n')
    assert list(hub(tmp_path / "a.tsv")) == [Pair('"a', '"b""')]


@pytest.mark.parametrize(
    ("value", "said"),
    [(7, "7 is"), (1.5, "1.5 is"), (["x"], '["x"] is'), ({"text": "x"}, '{"text": "x"} is'), (True, "true is")],
)
@pytest.mark.parametrize("nested", [True, False])
def test_what_is_no_text_is_refused_with_row_and_column(tmp_path, hub, value, said, nested):
    rows = [{"de": "ein", "en": "one"}, {"de": "zwei", "en": value}]
    rows = [{"translation": row} for row in rows] if nested else rows
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    message = message_of(lambda: hub(tmp_path / "a.jsonl"))
    assert f"a.jsonl, row 1 (line 2), column 'en': {said} no text" in message


@pytest.mark.parametrize("value", [7, 1.5, ["x"], {"text": "x"}, True])
def test_what_is_no_text_in_a_typed_column_is_refused_too(tmp_path, hub, value):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist([{"de": "ein", "en": value}]), tmp_path / "a.parquet")
    message = message_of(lambda: list(hub(tmp_path / "a.parquet")))
    assert "a.parquet (train), row 0, column 'en': " in message
    assert "is no text" in message


def test_half_a_character_is_refused_with_row_and_column(tmp_path, hub):
    (tmp_path / "a.jsonl").write_text('{"de": "x \\ud800", "en": "y"}')
    assert "row 0 (line 1), column 'de': half a character" in message_of(lambda: hub(tmp_path / "a.jsonl"))


def test_rows_may_have_other_keys_beside_the_languages(tmp_path, hub):
    rows = [{"translation": {"de": "a", "en": "b", "fr": "c"}}, {"translation": {"en": "e", "de": "d"}}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert list(hub(tmp_path / "a.jsonl")) == [Pair("a", "b"), Pair("d", "e")]


def test_a_row_without_a_language_is_blank_there(tmp_path, hub):
    (tmp_path / "a.jsonl").write_text('{"de": "a", "en": "b"}\n{"de": "c"}\n')
    assert list(hub(tmp_path / "a.jsonl", empty_lines=EmptyLines.keep)) == [Pair("a", "b"), Pair("c", "")]
    assert "row 1, column 'en' is blank" in message_of(lambda: list(hub(tmp_path / "a.jsonl")))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.jsonl",
            '{"de": "a", "en": "b"}\n{"x": "c"}',
            "row 1 (line 2) has no column 'de' nor 'en'; its columns are: x",
        ),
        ("a.jsonl", '{"de": "a"}\n{"de": "b"}', "a.jsonl: no row has a column 'en'"),
        ("a.jsonl", '["a", "b"]\n', 'row 0: "a" is no row'),
        ("a.jsonl", '{"translation": "a"}\n', "row 0 (line 1), column 'translation': \"a\" has no languages"),
        ("a.jsonl", '{"de": "a"\n', "a.jsonl, line 1: not JSON"),
        ("a.csv", "de,fr\na,b\n", "a.csv, line 1, has no column 'en'; its columns are: de, fr"),
        ("a.csv", "de;en\na;b\n", "(is ',' what separates them?)"),
        ("a.csv", "de,en\na,b\nc\n", "row 1 (line 3): 1 columns where the heading has 2"),
        ("a.csv", 'de,en\n"a,b\n', "a.csv, line 2: cannot be read as CSV"),
        ("a.csv", "de,en\nschön,b\n".encode("latin1"), "a.csv, line 2: not UTF-8"),
        ("a.txt", "x", "a file of no known kind; legal are .csv, .tsv, .json, .jsonl, .ndjson, .parquet"),
        ("a.csv", "de,en\n", "a.csv is empty (data.train)"),
        ("a.json", "", "a.json is empty (data.train)"),
    ],
)
def test_a_file_of_rows_that_cannot_be_used_is_one_clear_line(tmp_path, hub, name, content, said):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert said in message_of(lambda: list(hub(tmp_path / name)))


@pytest.mark.parametrize("name", ["nope.csv", "nope.tsv", "nope.jsonl.gz", "nope.parquet", "nope*.csv"])
def test_a_file_that_is_missing_is_not_looked_for_on_the_hub(tmp_path, hub, name):
    assert message_of(lambda: hub(tmp_path / name)).startswith(f"data.name={tmp_path}/{name}: no such file")


# Headings

HEADINGS = [
    ("de", "en"),
    ("DE", "EN"),
    ("De", " en "),
    ("deu", "eng"),
    ("ger", "en-US"),
    ("de_AT", "EN_gb"),
    ("German", "English"),
    ("deutsch", "english"),
    ("source", "target"),
    ("src", "tgt"),
    ("Source", "TRG"),
    ("de", "target"),
]


@pytest.mark.parametrize("heading", HEADINGS)
@pytest.mark.parametrize("turned", [True, False])
def test_a_heading_in_other_case_or_words_names_its_columns(tmp_path, hub, heading, turned):
    step = -1 if turned else 1
    rows = [heading[::step], ("ein", "one")[::step]]
    for name, separator in (("a.tsv", "\t"), ("a.csv", ",")):
        (tmp_path / name).write_text("".join(separator.join(row) + "\n" for row in rows))
        assert list(hub(tmp_path / name)) == [Pair("ein", "one")]
    assert read(str(tmp_path / "a.tsv")) == [Pair("ein", "one")]
    (tmp_path / "a.jsonl").write_text(json.dumps(dict(zip(*rows, strict=True))))
    assert list(hub(tmp_path / "a.jsonl")) == [Pair("ein", "one")]


@pytest.mark.parametrize("heading", [("en", "fr"), ("German", "French"), ("source", "text"), ("DE", "translation")])
def test_a_heading_of_something_else_is_not_taken_for_text(tmp_path, heading):
    (tmp_path / "a.tsv").write_text("\t".join(heading) + "\nein\tone\n")
    message = message_of(lambda: read(str(tmp_path / "a.tsv")))
    assert f"a.tsv, line 1: a heading that does not name 'de' and 'en': {heading[0]}, {heading[1]}" in message


@pytest.mark.parametrize("row", [("hi", "ja"), ("no", "nein"), ("Go.", "Geh."), ("English", "text!"), ("das", "was")])
def test_a_first_row_of_text_is_no_heading(tmp_path, row):
    (tmp_path / "a.tsv").write_text("\t".join(row) + "\nein\tone\n")
    assert read(str(tmp_path / "a.tsv")) == [Pair(*row), Pair("ein", "one")]


def test_a_language_that_is_in_two_columns_is_asked_for_by_its_full_name(tmp_path, hub):
    (tmp_path / "a.csv").write_text("de-DE,de-AT,en\na,b,c\n")
    assert "has no column 'de'; its columns are: de-DE, de-AT, en" in message_of(lambda: hub(tmp_path / "a.csv"))
    assert list(hub(tmp_path / "a.csv", src="de-AT")) == [Pair("b", "c")]


def test_both_readers_give_a_corpus(tmp_path, parquet, hub):
    assert isinstance(read_files([write(tmp_path, "ein\n", "one\n")], "de", "en"), Corpus)
    assert isinstance(hub(parquet), Corpus)


def test_multi30k_is_29000_pairs(corpora):
    corpus = read_files([corpora / "multi30k" / "train"], "de", "en")
    assert sum(1 for _ in corpus) == 29000


def test_hashing_two_hundred_thousand_lines_takes_less_than_two_seconds_of_the_processor(corpora):
    corpus = read_files([corpora / "europarl-en-fr" / "train"], "en", "fr")
    start = time.process_time()
    corpus.digest()
    assert time.process_time() - start < 2
