"""Rows of CSV, TSV and JSON files with every value read as text, never converted to a number, a date or null.

The `datasets` library infers types: it reads NA as null, 007 as 7.0 and 2020-01-01 as a time.
"""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nmt.corpus.files import digest_of, lines_of
from nmt.corpus.heading import find_columns

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON = (".json", ".jsonl", ".ndjson")
SUFFIXES = (*_SEPARATORS, *_JSON)


class TextFile(NamedTuple):
    """A file of rows; separator: the character between columns, or None for JSON."""

    path: Path
    separator: str | None


def suffix_of(path: str | Path) -> str:
    """The suffix of a file's name without `.gz`."""
    return Path(str(path).removesuffix(".gz")).suffix.lower()


def text_file(path: Path) -> TextFile:
    """A file in the format of its suffix, one of SUFFIXES."""
    return TextFile(path, _SEPARATORS.get(suffix_of(path)))


def digests(files: Sequence[TextFile]) -> list[str]:
    """The SHA-256 of each file."""
    return [digest_of(file.path) for file in files]


def read_rows(file: TextFile, src: str, tgt: str) -> Iterator[dict[str, str | None]]:
    """The rows of a file as {"src": text, "tgt": text}; None for a null or a key missing in a row of JSON.

    Rows of JSON, one per line or in a list, are `{"translation": {SRC: ..., TGT: ...}}` or have keys SRC and TGT; a
    table's heading names the columns. Raises ValueError with file, row (counted from 0), line and column for a value
    that is not text.
    """
    rows = _read_json(file.path, src, tgt) if file.separator is None else _read_table(file, src, tgt)
    for place, values in rows:
        texts = [as_text(value, f"{place}, column {name!r}") for name, value in zip((src, tgt), values, strict=True)]
        yield {"src": texts[0], "tgt": texts[1]}


def as_text(value: object, place: str) -> str | None:
    """Returns the value. Raises ValueError, with `place`, if it is neither text nor None."""
    if value is None:
        return None
    if not isinstance(value, str):
        shown = json.dumps(value, ensure_ascii=False, default=str)
        shown = shown if len(shown) <= 60 else f"{shown[:60]} ..."
        raise ValueError(f"{place}: {shown} is no text (in JSON, text stands in quotes)")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{place}: half a character ({value[error.start]!a}), which is no text") from error
    return value


def no_columns(place: str, columns: Sequence[str], src: str, tgt: str) -> ValueError:
    """The error for a table without the two languages."""
    missing = [name for name in (src, tgt) if name not in columns] or [src, tgt]
    names = ", ".join(map(str, columns)) or "none"
    return ValueError(f"{place} has no column {' nor '.join(map(repr, missing))}; its columns are: {names[:300]}")


def _read_table(file: TextFile, src: str, tgt: str) -> Iterator[tuple[str, tuple[str, str]]]:
    heading, chosen, number = [], (0, 0), -1
    for line, row in _cells(file):
        if not heading:
            heading, found = row, find_columns(row, src, tgt)
            if found is None:
                hint = "" if len(row) > 1 else f" (is {file.separator!r} what separates them?)"
                raise ValueError(f"{no_columns(f'{file.path}, line {line},', row, src, tgt)}{hint}")
            chosen = found
            continue
        number += 1
        place = f"{file.path}, row {number} (line {line})"
        if len(row) != len(heading):
            raise ValueError(f"{place}: {len(row)} columns where the heading has {len(heading)}")
        yield place, (row[chosen[0]], row[chosen[1]])


def _cells(file: TextFile) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table, each with the number of its first line; empty lines are skipped."""
    if file.separator == "\t":  # quotes are ordinary characters
        yield from ((number, line.split("\t")) for number, line in enumerate(lines_of(file.path), 1) if line)
        return
    assert file.separator is not None
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader((line + "\n" for line in lines_of(file.path)), delimiter=file.separator, strict=True)
    begins = 1
    try:
        for row in reader:
            if row:
                yield begins, row
            begins = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{file.path}, line {begins}: cannot be read as CSV: {error}") from error


def _read_json(path: Path, src: str, tgt: str) -> Iterator[tuple[str, tuple[object, object]]]:
    names: dict[str, tuple[str, str] | None] = {}  # from the keys of a row to those of the languages
    seen = [False, False]
    number = -1
    for number, (line, row) in enumerate(_json_rows(path)):
        place = f"{path}, row {number}" + (f" (line {line})" if line else "")
        if not isinstance(row, dict):
            raise ValueError(f"{place}: {json.dumps(row)[:60]} is no row: a row is {{...}}, with columns")
        values = row.get("translation", row)
        if not isinstance(values, dict):
            raise ValueError(f"{place}, column 'translation': {json.dumps(values)[:60]} has no languages")
        keys = list(values)
        if (kind := repr(keys)) not in names:
            names[kind] = _names(keys, src, tgt)
        known = names[kind]
        if known is None:
            raise no_columns(place, keys, src, tgt)
        seen = [before or name in values for before, name in zip(seen, known, strict=True)]
        yield place, (values.get(known[0]), values.get(known[1]))
    for language, found in zip((src, tgt), seen, strict=True):
        if number >= 0 and not found:
            raise ValueError(f"{path}: no row has a column {language!r}")


def _names(keys: list[str], src: str, tgt: str) -> tuple[str, str] | None:
    """The keys of the two languages in a row. One of the two may be missing."""
    if found := find_columns(keys, src, tgt):
        return keys[found[0]], keys[found[1]]
    return (src, tgt) if src in keys or tgt in keys else None


def _json_rows(path: Path) -> Iterator[tuple[int, object]]:
    """Each row with its line; the line is 0 if the file is a list of rows."""
    lines = enumerate(lines_of(path), 1)
    for number, line in lines:
        if number == 1 and line.lstrip().startswith("["):
            whole = "\n".join([line, *(rest for _, rest in lines)])
            yield from ((0, row) for row in _parse(whole, str(path)))
        elif line.strip():
            yield number, _parse(line, f"{path}, line {number}")


def _parse(text: str, place: str):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: not JSON: {error}; a row a line, or one list of rows") from error
