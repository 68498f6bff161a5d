"""A corpus in files: PREFIX.src and PREFIX.tgt, one sentence per line, or a table of two tab-separated columns."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from nmt.corpus.heading import find_columns, is_heading_of_others
from nmt.corpus.pairs import Corpus, EmptyLines, Pair
from nmt.corpus.spooled import Spooled, can_be_reread
from nmt.runtime.hashing import file_sha256
from nmt.runtime.text_files import STREAM, read_lines

_digests: dict[tuple[str, int, int], str] = {}  # by real path, size and mtime: each file is hashed once per process


def read_files(
    prefixes: Sequence[str | Path],
    src: str,
    tgt: str,
    *,
    empty_lines: EmptyLines = EmptyLines.error,
    key: str = "data.train",
) -> "FileCorpus":
    """The corpus of one or more prefixes, concatenated.

    A prefix `p` means the files `p.SRC` and `p.TGT`, plain or with `.gz` (plain is preferred if both exist). A prefix
    that ends in `.tsv` or `.tsv.gz` is one file of two columns, source first, unless its first line names the languages
    (see `find_columns`). Lines end only at a line feed (one carriage return before it and a byte order mark at the
    start are removed), so U+2028, form feeds and, except in .tsv, tabs do not end a line. `key` is the setting that
    errors name.

    Raises ValueError if files are missing or empty, or if their lines end only in carriage returns; iterating raises
    it, with file and line, for invalid UTF-8, damaged gzip, unequal line counts, wrong numbers of columns and, with
    EmptyLines.error, lines blank on one side.
    """
    if not prefixes:
        raise ValueError(f"{key} names no corpus: give a path without the language suffix, or a list of such paths")
    parts = []
    for prefix in map(str, prefixes):
        if prefix.endswith((".tsv", ".tsv.gz")):
            if not Path(prefix).is_file():
                raise ValueError(f"no such file: {prefix} ({key})")
            parts.append(_Part(Path(prefix), None))
        else:
            parts.append(_Part(_find(prefix, src, (src, tgt), key), _find(prefix, tgt, (src, tgt), key)))
    for path in chain.from_iterable(parts):
        if path is not None and next(lines_of(path), None) is None:
            raise ValueError(f"{path} is empty ({key})")
    name = Path(str(prefixes[-1])).name.removesuffix(".gz").removesuffix(".tsv")
    return FileCorpus(name, parts, src, tgt, empty_lines)


def read_pair(src: str | Path, tgt: str | Path) -> Corpus:
    """The corpus of two files with given names, plain or gzipped (`-`: standard input); files and lines may be empty.

    A pipe can be read only once, so its content is copied as in `Spooled`; such a corpus is read immediately. Iterating
    raises ValueError as for `read_files`; OSError if a file does not exist.
    """
    corpus = FileCorpus(Path(src).name, [_Part(Path(src), Path(tgt))], "src", "tgt", EmptyLines.keep)
    if all(map(can_be_reread, (Path(src), Path(tgt)))):
        return corpus
    if STREAM not in (str(src), str(tgt)) and not Path(src).is_file() and os.path.samefile(src, tgt):
        raise ValueError(f"{src} and {tgt} are the same pipe, and hold one side only: give each side a pipe of its own")
    return Spooled(corpus)


class _Part(NamedTuple):
    """Two files of lines; if `tgt` is None, `src` is a table of two columns."""

    src: Path
    tgt: Path | None


class FileCorpus(Corpus):
    """Pairs from files; created by `read_files`."""

    def __init__(self, name: str, parts: Sequence[_Part], src: str, tgt: str, empty_lines: EmptyLines):
        self.name = name
        self.empty_lines = empty_lines
        self._parts = list(parts)
        self.paths = [path for path in chain.from_iterable(parts) if path is not None]
        self._languages = (src, tgt)

    def __iter__(self) -> Iterator[Pair]:
        for part in self._parts:
            yield from self._table(part.src) if part.tgt is None else self._two_files(part.src, part.tgt)

    def digest(self) -> str:
        total = hashlib.sha256(repr(("files", 1, self._languages)).encode())
        for path in chain.from_iterable(self._parts):
            total.update(b"-" if path is None else digest_of(path).encode())
        return total.hexdigest()

    def _two_files(self, src_path: Path, tgt_path: Path) -> Iterator[Pair]:
        src, tgt = read_lines(src_path), read_lines(tgt_path)
        for number, (s, t) in enumerate(zip_longest(src, tgt), 1):
            if s is None or t is None:
                longer = number + sum(1 for _ in (tgt if s is None else src))
                counts = (number - 1, longer) if s is None else (longer, number - 1)
                raise ValueError(
                    f"{src_path} has {counts[0]:,} lines but {tgt_path} has {counts[1]:,}: line n of one must be the "
                    "translation of line n of the other"
                )
            yield self._check_blank(Pair(s, t), f"{src_path}, line {number},", f"line {number} of {tgt_path}")

    def _table(self, path: Path) -> Iterator[Pair]:
        swapped = False
        for number, line in enumerate(read_lines(path), 1):
            columns = line.split("\t") if line.strip() else ["", ""]
            if len(columns) != 2:
                raise ValueError(
                    f"{path}, line {number}: {len(columns)} column(s) where two, with one tab between them, are needed"
                )
            if number == 1 and (found := find_columns(columns, *self._languages)):
                swapped = found == (1, 0)
                continue
            if number == 1 and is_heading_of_others(columns, *self._languages):
                src, tgt = self._languages
                raise ValueError(
                    f"{path}, line 1: a heading that does not name {src!r} and {tgt!r}: {', '.join(columns)}; call its "
                    "columns so, or write such a heading above it if it is text"
                )
            pair = Pair(columns[1], columns[0]) if swapped else Pair(columns[0], columns[1])
            place = f"{path}, line {number}, {{}} side,"
            yield self._check_blank(pair, place.format(self._languages[0]), place.format(self._languages[1]))


def _find(prefix: str, language: str, languages: tuple[str, str], key: str) -> Path:
    """PREFIX.LANGUAGE or, if it does not exist, PREFIX.LANGUAGE.gz."""
    for path in (Path(f"{prefix}.{language}"), Path(f"{prefix}.{language}.gz")):
        if path.is_file():
            return path
    hint = f"{key} is the path without the language suffix"
    for suffix in (end for name in languages for end in (f".{name}", f".{name}.gz")):
        if prefix.endswith(suffix):
            hint += f"; try {key}={prefix.removesuffix(suffix)}"
    raise ValueError(f"no such file: {prefix}.{language} (nor {prefix}.{language}.gz); {hint}")


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a plain or gzipped file.

    Raises ValueError as `read_lines` does, and for a file whose lines end only in carriage returns, which would be one
    line.
    """
    lines = read_lines(path)
    begin = list(islice(lines, 2))
    if len(begin) == 1 and "\r" in begin[0]:
        raise ValueError(f"{path}: its lines end in carriage returns alone; try: tr '\\r' '\\n' < {path}")
    yield from chain(begin, lines)


def digest_of(path: Path) -> str:
    """The SHA-256 of the bytes of a file."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    if key not in _digests:
        _digests[key] = file_sha256(path)
    return _digests[key]
