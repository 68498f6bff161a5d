"""A corpus as ids in a memory-mapped Arrow file, written once as a stream and found again by its content."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from nmt.data.corpus import Blank, Corpus, Pair
from nmt.data.symbols import EOS, PAD
from nmt.data.tokenizer import Tokenizer

_VERSION = 1
_SCHEMA = pa.schema([("src", pa.list_(pa.int32())), ("tgt", pa.list_(pa.int32()))])
# What is held in memory at once while encoding; Python's lists of ids take about 30 bytes a character.
_PAIRS, _CHARACTERS = 10_000, 1_000_000


class Skipped(NamedTuple):
    """Pairs left out of training: `blank` on a side, or `long`er than the limit on a side."""

    blank: int
    long: int


class Rows(NamedTuple):
    """Pairs side by side, EOS last, padded with PAD: ids (B,S) and (B,T) int32, lengths (B,) int32."""

    src: np.ndarray
    src_lengths: np.ndarray
    tgt: np.ndarray
    tgt_lengths: np.ndarray


class Encoded:
    """Pairs of ids, each with its EOS, on disk; only the lengths (8 bytes a pair) are in memory.

    `src_lengths` and `tgt_lengths`, int32 (N,), count pieces and EOS.
    """

    def __init__(self, path: str | Path):
        """Opens what `encode_corpus` wrote; raises ArrowException, OSError, KeyError or ValueError if it is damaged."""
        self.path = Path(path)
        self._file = pa.memory_map(str(path))
        whole = self._file.read_buffer()
        reader = pa.ipc.open_file(whole)
        # Every array of the file as a part of one: where a row begins is then arithmetic, for many rows at once.
        self._ids = np.frombuffer(whole, dtype=np.int32, count=whole.size // 4)
        first, src, tgt = [0], [], []
        for chunk in range(reader.num_record_batches - 1):
            batch = reader.get_batch(chunk)
            first.append(first[-1] + batch.num_rows)
            src.append(_places(batch.column(0), whole))
            tgt.append(_places(batch.column(1), whole))
        about = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1).custom_metadata
        if about is None or int(about[b"pairs"]) != first[-1]:
            raise ValueError(f"{path} is not whole")
        self.skipped = Skipped(int(about[b"blank"]), int(about[b"long"]))
        self._first = np.array(first)  # (chunks + 1,) the row each chunk begins with
        self._src, self._tgt = (np.array(places, dtype=np.int64).reshape(-1, 2) for places in (src, tgt))
        self.src_lengths, self.tgt_lengths = self._lengths(self._src), self._lengths(self._tgt)

    def __len__(self) -> int:
        return int(self._first[-1])

    def pair(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target ids of one pair, EOS last, int32 (S,) and (T,)."""
        rows = self.rows(np.array([row]))
        return rows.src[0], rows.tgt[0]

    def rows(self, rows: np.ndarray) -> Rows:
        """Many pairs, padded to the longest of them; `rows` (B,) are numbers of pairs, in any order."""
        src_lengths, tgt_lengths = self.src_lengths[rows], self.tgt_lengths[rows]
        return Rows(
            self._padded(self._src, rows, src_lengths),
            src_lengths,
            self._padded(self._tgt, rows, tgt_lengths),
            tgt_lengths,
        )

    def _lengths(self, places: np.ndarray) -> np.ndarray:
        lengths = [
            np.diff(self._ids[offsets : offsets + count + 1])
            for (offsets, _), count in zip(places.tolist(), np.diff(self._first).tolist(), strict=True)
        ]
        return np.concatenate(lengths) if lengths else np.zeros(0, dtype=np.int32)

    def _padded(self, places: np.ndarray, rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        chunk = np.searchsorted(self._first, rows, side="right") - 1
        begin = places[chunk, 1] + self._ids[places[chunk, 0] + rows - self._first[chunk]]
        columns = np.arange(lengths.max())
        taken = self._ids[begin[:, None] + np.minimum(columns, lengths[:, None] - 1)]
        return np.where(columns < lengths[:, None], taken, np.int32(PAD))


def encode_corpus(
    corpus: Corpus, tokenizer: Tokenizer, *, max_length: int | None, skip: bool, cache: str | Path
) -> Encoded:
    """The ids of every pair of a corpus, from the folder `cache` if they were ever made, else made in bounded memory.

    skip=True, for training, leaves out and counts pairs that are blank on both sides or, but for Blank.keep, on one (a
    side without a single piece is blank) and those with more than `max_length` pieces on a side, EOS apart. skip=False,
    for scoring, keeps all: row n is line n.

    Raises ValueError for what the corpus cannot read, and if no pair is left.
    """
    if max_length is not None and max_length < 1:
        raise ValueError(f"data.max_length={max_length}: it must be at least 1, or null for no limit")
    limit = max_length if skip else None
    key = repr(("encoded", _VERSION, corpus.digest(), tokenizer.digest(), limit, skip, corpus.blank.value))
    path = Path(cache) / f"encoded-{hashlib.sha256(key.encode()).hexdigest()[:32]}.arrow"
    if path.exists():
        try:
            return Encoded(path)
        except (pa.ArrowException, OSError, KeyError, ValueError):
            pass  # cut short, by a full disk perhaps: it is made anew
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=f".{path.stem}-", dir=path.parent)
    os.close(handle)
    try:
        _write(Path(beside), corpus, tokenizer, limit, skip)
        os.chmod(beside, 0o644)  # as any other file, where a temporary one is for its owner only
        os.replace(beside, path)  # whole or not at all; who else writes the same now loses nothing
    finally:
        Path(beside).unlink(missing_ok=True)
    return Encoded(path)


def _write(path: Path, corpus: Corpus, tokenizer: Tokenizer, limit: int | None, skip: bool) -> None:
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pairs = blank = long = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        for chunk in _chunks(corpus):
            src = tokenizer.src.encode_batch([pair.src for pair in chunk], threads)
            tgt = tokenizer.tgt.encode_batch([pair.tgt for pair in chunk], threads)
            if skip:
                kept = []
                for s, t in zip(src, tgt, strict=True):
                    if not (s or t) or (corpus.blank is not Blank.keep and not (s and t)):
                        blank += 1
                    elif limit is not None and (len(s) > limit or len(t) > limit):
                        long += 1
                    else:
                        kept.append((s, t))
                src, tgt = [s for s, _ in kept], [t for _, t in kept]
            writer.write_batch(pa.record_batch([_column(src), _column(tgt)], schema=_SCHEMA))
            pairs += len(src)
        if pairs == 0:
            raise ValueError(
                f"no pair of {corpus.name} is left: {blank:,} are blank and {long:,} have more than {limit} pieces on "
                "a side; try a larger data.max_length"
            )
        about = {"pairs": str(pairs), "blank": str(blank), "long": str(long)}
        writer.write_batch(pa.record_batch([_column([]), _column([])], schema=_SCHEMA), custom_metadata=about)


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
    """Sentences, each with EOS added, as one Arrow column."""
    for ids in sentences:
        ids.append(EOS)
    offsets = np.zeros(len(sentences) + 1, dtype=np.int32)
    np.cumsum([len(ids) for ids in sentences], out=offsets[1:])
    values = np.fromiter(chain.from_iterable(sentences), dtype=np.int32, count=int(offsets[-1]))
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def _places(column: pa.Array, whole: pa.Buffer) -> tuple[int, int]:
    """Where in the file, counted in int32, the offsets and the values of a column begin."""
    _, offsets, _, values = column.buffers()
    places = [
        buffer.address - whole.address if buffer is not None and buffer.size else 0 for buffer in (offsets, values)
    ]
    assert all(place % 4 == 0 for place in places), "Arrow aligns its buffers"
    return places[0] // 4, places[1] // 4
