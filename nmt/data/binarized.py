"""A corpus as ids in a memory-mapped Arrow file, written once in a stream and cached by its content.

Word links of the corpus, if given, are stored as links between pieces.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from nmt.corpus import Corpus, EmptyLines, Pair
from nmt.data.symbols import EOS, PAD
from nmt.data.tokenizer import Tokenizer
from nmt.runtime.atomic import remove_abandoned, written_beside

WEIGHT_ONE = 10_000  # the stored integer for a link weight of 1
_VERSION = 1
_SCHEMA = pa.schema([("src", pa.list_(pa.int32())), ("tgt", pa.list_(pa.int32()))])
# The maximum chunk that is in memory while encoding; Python's lists of ids take about 30 bytes a character.
_PAIRS, _CHARACTERS = 10_000, 1_000_000


class WordLinks(Protocol):
    """For each pair of a corpus in order, its links (source word, target word), counted from 0; if `weighted`, a
    dictionary from each link to its weight, from 0 to 1."""

    @property
    def name(self) -> str:
        """The name of the links in messages."""
        ...

    @property
    def weighted(self) -> bool: ...

    def __iter__(self) -> Iterator[Collection[tuple[int, int]]]: ...

    def digest(self) -> str:
        """A hash, in hexadecimal, that differs for different links."""
        ...


class Skipped(NamedTuple):
    """The numbers of pairs left out of training: `blank` on a side, or `long`er than the limit on a side."""

    blank: int
    long: int


class Rows(NamedTuple):
    """Padded pairs, EOS last, padded with PAD: ids (B,S) and (B,T) int32, lengths (B,) int32."""

    src: np.ndarray
    src_lengths: np.ndarray
    tgt: np.ndarray
    tgt_lengths: np.ndarray


class BinarizedCorpus:
    """Pairs of ids, each with EOS, on disk; only the lengths (8 bytes a pair) are in memory.

    `src_lengths` and `tgt_lengths`, int32 (N,), count pieces and EOS.
    """

    def __init__(self, path: str | Path):
        """Opens a file of `binarize_corpus`; raises ArrowException, OSError, KeyError or ValueError if it is
        damaged."""
        self.path = Path(path)
        self._file = pa.memory_map(str(path))
        whole = self._file.read_buffer()
        reader = pa.ipc.open_file(whole)
        # All arrays of the file are parts of one array: the starts of many rows are then computed at once.
        self._ids = np.frombuffer(whole, dtype=np.int32, count=whole.size // 4)
        first, src, tgt, links = [0], [], [], []
        for chunk in range(reader.num_record_batches - 1):
            batch = reader.get_batch(chunk)
            first.append(first[-1] + batch.num_rows)
            src.append(_places(batch.column(0), whole))
            tgt.append(_places(batch.column(1), whole))
            if batch.num_columns > 2:
                links.append(_places(batch.column(2), whole))
        about = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1).custom_metadata
        if about is None or int(about[b"pairs"]) != first[-1]:
            raise ValueError(f"{path} is not whole")
        self.skipped = Skipped(int(about[b"blank"]), int(about[b"long"]))
        self.weighted = b"weighted" in about  # whether links have weights
        self._first = np.array(first)  # (chunks + 1,) the first row of each chunk
        self._src, self._tgt, self._links = (
            np.array(places, dtype=np.int64).reshape(-1, 2) for places in (src, tgt, links)
        )
        self.src_lengths, self.tgt_lengths = self._lengths(self._src), self._lengths(self._tgt)

    def __len__(self) -> int:
        return int(self._first[-1])

    def pair(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target ids of one pair, EOS last, int32 (S,) and (T,)."""
        rows = self.rows(np.array([row]))
        return rows.src[0], rows.tgt[0]

    def rows(self, rows: np.ndarray) -> Rows:
        """The pairs with the indices `rows` (B,), in any order, padded to the longest of them."""
        src_lengths, tgt_lengths = self.src_lengths[rows], self.tgt_lengths[rows]
        return Rows(
            self._padded(self._src, rows, src_lengths),
            src_lengths,
            self._padded(self._tgt, rows, tgt_lengths),
            tgt_lengths,
        )

    def links(self, rows: np.ndarray) -> np.ndarray:
        """Links between pieces, int64 (L, 3): the index in `rows`, the target piece, the source piece; L is 0 if the
        corpus has no links. If `weighted`, (L, 4), with the weight in units of 1 / WEIGHT_ONE."""
        if not len(self._links):
            return np.zeros((0, 3), dtype=np.int64)
        begin, end = self._spans(self._links, rows)
        width = 3 if self.weighted else 2
        found = [self._ids[a:b].reshape(-1, width) for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
        place = np.repeat(np.arange(len(rows)), (end - begin) // width)
        return np.column_stack((place, np.concatenate(found).astype(np.int64)))

    def _spans(self, places: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The begin and end of each row's values in the file, in int32 units."""
        chunk = np.searchsorted(self._first, rows, side="right") - 1
        offset, values = places[chunk, 0] + rows - self._first[chunk], places[chunk, 1]
        return values + self._ids[offset], values + self._ids[offset + 1]

    def _lengths(self, places: np.ndarray) -> np.ndarray:
        lengths = [
            np.diff(self._ids[offsets : offsets + count + 1])
            for (offsets, _), count in zip(places.tolist(), np.diff(self._first).tolist(), strict=True)
        ]
        return np.concatenate(lengths) if lengths else np.zeros(0, dtype=np.int32)

    def _padded(self, places: np.ndarray, rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        begin, _ = self._spans(places, rows)
        columns = np.arange(lengths.max())
        taken = self._ids[begin[:, None] + np.minimum(columns, lengths[:, None] - 1)]
        return np.where(columns < lengths[:, None], taken, np.int32(PAD))


def binarize_corpus(
    corpus: Corpus,
    tokenizer: Tokenizer,
    *,
    max_length: int | None,
    skip: bool,
    cache: str | Path,
    links: WordLinks | None = None,
) -> BinarizedCorpus:
    """The ids of every pair of a corpus, read from the folder `cache` if they are there, otherwise computed in bounded
    memory.

    skip=True, for training, leaves out and counts pairs that are blank on both sides or, except with EmptyLines.keep,
    on one (a side without pieces is blank), and pairs with more than `max_length` pieces on a side, EOS not counted.
    skip=False, for scoring, keeps all pairs: row n is line n. A link between words becomes links between all their
    pieces.

    Raises ValueError if the corpus cannot be read, if no pair is left, or if the links are those of another corpus.
    """
    if max_length is not None and max_length < 1:
        raise ValueError(f"data.max_length={max_length}: it must be at least 1, or null for no limit")
    limit = max_length if skip else None
    key = repr(("encoded", _VERSION, corpus.digest(), tokenizer.digest(), limit, skip, corpus.empty_lines.value))
    if links is not None:
        key += f" with the links {links.digest()}"
    path = Path(cache) / f"encoded-{hashlib.sha256(key.encode()).hexdigest()[:32]}.arrow"
    remove_abandoned(path.parent, "encoded-")
    if path.exists():
        try:
            return BinarizedCorpus(path)
        except (pa.ArrowException, OSError, KeyError, ValueError):
            pass  # truncated, for example by a full disk: written again
    with written_beside(path) as beside:
        _write(beside, corpus, tokenizer, limit, skip, links)
    return BinarizedCorpus(path)


def _write(
    path: Path, corpus: Corpus, tokenizer: Tokenizer, limit: int | None, skip: bool, links: WordLinks | None
) -> None:
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pairs = blank = long = 0
    schema = _SCHEMA if links is None else _SCHEMA.append(pa.field("links", pa.list_(pa.int32())))
    linked = None if links is None else _linked(corpus, tokenizer, links)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for chunk in _chunks(corpus):
            src = tokenizer.src.encode_batch([pair.src for pair in chunk], threads)
            tgt = tokenizer.tgt.encode_batch([pair.tgt for pair in chunk], threads)
            columns = [src, tgt] if linked is None else [src, tgt, list(islice(linked, len(chunk)))]
            if skip:
                kept = []
                for s, t, *more in zip(*columns, strict=True):
                    if not (s or t) or (corpus.empty_lines is not EmptyLines.keep and not (s and t)):
                        blank += 1
                    elif limit is not None and (len(s) > limit or len(t) > limit):
                        long += 1
                    else:
                        kept.append((s, t, *more))
                columns = [[row[side] for row in kept] for side in range(len(columns))]
            for ids in chain(*columns[:2]):
                ids.append(EOS)
            writer.write_batch(pa.record_batch([_column(each) for each in columns], schema=schema))
            pairs += len(columns[0])
        if linked is not None:
            next(linked, None)  # raises ValueError if there are links after the last pair
        if pairs == 0:
            why = f"{blank:,} are blank"
            if long:
                why += f" and {long:,} have more than {limit} pieces on a side; try a larger data.max_length"
            raise ValueError(f"no pair of {corpus.name} is left: {why}")
        about = {"pairs": str(pairs), "blank": str(blank), "long": str(long)}
        about |= {"weighted": "true"} if links is not None and links.weighted else {}
        writer.write_batch(pa.record_batch([_column([]) for _ in schema], schema=schema), custom_metadata=about)


def _linked(corpus: Corpus, tokenizer: Tokenizer, links: WordLinks) -> Iterator[list[int]]:
    """The links between the pieces of each pair in order: target, source, target, source, ...; with weighted links,
    target, source, weight, ...: the weight is divided by the number of pieces of the source word."""
    all_links, number = iter(links), 0
    for number, pair in enumerate(corpus, 1):
        found = next(all_links, None)
        if found is None:
            pairs = sum(1 for _ in corpus)
            raise ValueError(f"{links.name} has {number - 1:,} lines but {corpus.name} has {pairs:,} pairs")
        sides = tokenizer.src.encode_words(pair.src).words, tokenizer.tgt.encode_words(pair.tgt).words
        words = len(pair.src.split()), len(pair.tgt.split())
        pieces = [_pieces_of(side) for side in sides]
        between = []
        for src, tgt in sorted(found):
            if src >= words[0] or tgt >= words[1]:
                raise ValueError(
                    f"{links.name}, line {number}: source word {src} and target word {tgt}, counted from 0, of a pair "
                    f"with {words[0]} and {words[1]}; is it for another text, or the other way round "
                    "(guided_alignment.reversed)?"
                )
            weight = []
            if isinstance(found, Mapping):
                weight = [round(found[src, tgt] * WEIGHT_ONE / max(1, len(pieces[0][src])))]
            between += [number for t in pieces[1][tgt] for s in pieces[0][src] for number in (t, s, *weight)]
        yield between
    if more := sum(1 for _ in all_links):
        raise ValueError(f"{links.name} has {number + more:,} lines but {corpus.name} has {number:,} pairs")


def _pieces_of(words: Iterable[int]) -> dict[int, list[int]]:
    """The indices of the pieces of each word."""
    pieces = defaultdict(list)
    for piece, word in enumerate(words):
        pieces[word].append(piece)
    return pieces


def _chunks(corpus: Corpus) -> Iterator[list[Pair]]:
    chunk, characters = [], 0
    for pair in corpus:
        chunk.append(pair)
        characters += len(pair.src) + len(pair.tgt)
        if len(chunk) == _PAIRS or characters >= _CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _column(sentences: list[list[int]]) -> pa.ListArray:
    """Lists of integers as one Arrow column."""
    offsets = np.zeros(len(sentences) + 1, dtype=np.int32)
    np.cumsum([len(ids) for ids in sentences], out=offsets[1:])
    values = np.fromiter(chain.from_iterable(sentences), dtype=np.int32, count=int(offsets[-1]))
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def _places(column: pa.Array, whole: pa.Buffer) -> tuple[int, int]:
    """The starts of the offsets and of the values of a column in the file, in int32 units."""
    _, offsets, _, values = column.buffers()
    places = [
        buffer.address - whole.address if buffer is not None and buffer.size else 0 for buffer in (offsets, values)
    ]
    assert all(place % 4 == 0 for place in places), "Arrow aligns its buffers"
    return places[0] // 4, places[1] // 4
