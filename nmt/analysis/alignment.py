"""Word alignments out of attention: pieces merged to words, links, Pharaoh lines, error rate, matrices on disk.

A link joins a source word and a target word, both counted from 0, source first, as in Pharaoh's `i-j`.
"""

import os
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np


class Link(NamedTuple):
    """Source word `src` and target word `tgt` translate each other; both count from 0. Equal to the plain pair."""

    src: int
    tgt: int


class WordAttention(NamedTuple):
    """What each target word looked at, in source words: `weights.sum(1) + eos == 1`.

    weights: (Tw, Sw) float32. eos: (Tw,) float32, the mass on the end of sentence and on whatever else is no word.
    """

    weights: np.ndarray
    eos: np.ndarray


class GoldLinks(NamedTuple):
    """A line of links: those that are sure, and those that are at least possible (the sure ones among them)."""

    sure: frozenset[Link]
    possible: frozenset[Link]


class Agreement(NamedTuple):
    """How links agree with gold links, each from 0 to 1. A small `aer` is good, a large precision and recall are."""

    aer: float
    precision: float
    recall: float


NOTICED = 0.1  # the least weight by which a source word is linked to the target word that looked at it most


def merge(
    weights: np.ndarray, tgt_word_of: Sequence[int], src_word_of: Sequence[int], n_tgt: int, n_src: int
) -> WordAttention:
    """Turn weights between pieces into weights between words.

    The rule: a target word's attention is the *mean* of its pieces' rows, and a source word's share of it is the *sum*
    of its pieces' columns, so that each row still sums to one. Columns of -1 (the end of sentence) are summed apart,
    rows of -1 are left out. A target word that got no piece (normalisation can empty a word) looked at no word:
    its row is zero and its eos mass one. A source word that got no piece has a column of zeros.

    weights: (T, S), rows sum to 1. tgt_word_of, src_word_of: for each of the T and S pieces the word it belongs to,
    or -1. n_tgt, n_src: the numbers of words Tw and Sw.
    """
    assert weights.shape == (len(tgt_word_of), len(src_word_of)), "one word index for each row and each column"
    tgt_of = np.asarray(tgt_word_of, dtype=np.int64)
    src_of = np.asarray(src_word_of, dtype=np.int64)
    # The last row and the last column collect what is no word; sums in float64 keep long sentences exact.
    columns = np.zeros((len(tgt_of), n_src + 1))
    np.add.at(columns.T, np.where(src_of < 0, n_src, src_of), np.asarray(weights, dtype=np.float64).T)
    rows = np.zeros((n_tgt + 1, n_src + 1))
    owner = np.where(tgt_of < 0, n_tgt, tgt_of)
    np.add.at(rows, owner, columns)
    pieces = np.bincount(owner, minlength=n_tgt + 1)
    rows[:, n_src][pieces == 0] = 1.0
    words = (rows / np.maximum(pieces, 1)[:, None])[:n_tgt].astype(np.float32)
    return WordAttention(np.ascontiguousarray(words[:, :n_src]), words[:, n_src].copy())


def links(weights: np.ndarray, eos: np.ndarray, *, threshold: float | None = None) -> list[Link]:
    """Decide which words are linked, sorted by source word, then target word.

    Without a threshold words compete, both ways. A target word is linked to the source word with the largest
    w^2 / (all the attention that this source word gets): one that looks at "a" and, for its gender, at the noun after it
    belongs to "a", since the noun has a word of its own that looks at it. And a source word that gets a weight of at
    least `NOTICED` anywhere is linked to the target word that looked at it most, so that "is looking for" can share one.
    A target word that looked most at the end of sentence stays without links: the model itself says that none was needed.
    Of equals the first is taken. With a threshold, 0 < threshold <= 1, each pair with at least that weight is linked.

    weights: (Tw, Sw), eos: (Tw,), as in `WordAttention`. Raises ValueError for a threshold outside its range.
    """
    assert eos.shape == weights.shape[:1], "eos holds one mass for each target word"
    if threshold is not None:
        if not 0 < threshold <= 1:
            raise ValueError(
                f"a link threshold of {threshold} makes no sense; try one above 0 and up to 1, such as 0.2"
            )
        found = zip(*np.nonzero(weights >= threshold), strict=True)
    elif weights.size:
        linked = weights.max(axis=1) >= eos
        attended = weights.sum(axis=0)
        claims = np.divide(weights**2, attended, out=np.zeros_like(weights), where=attended > 0)
        found = {(tgt, src) for tgt, src in enumerate(claims.argmax(axis=1)) if linked[tgt]}
        looked = weights.argmax(axis=0)
        found |= {(tgt, src) for src, tgt in enumerate(looked) if linked[tgt] and weights[tgt, src] >= NOTICED}
    else:
        return []
    return sorted(Link(int(src), int(tgt)) for tgt, src in found)


def pharaoh(links: Iterable[tuple[int, int]]) -> str:
    """Write links as a Pharaoh line, `0-0 1-2`: sorted, each once; the empty string where there is none."""
    return " ".join(f"{i}-{j}" for i, j in sorted(set(links)))


_LINK = re.compile(r"([0-9]{1,9})([-p])([0-9]{1,9})")


def parse_pharaoh(line: str) -> GoldLinks:
    """Read a line of links: `i-j` is sure, `ipj` only possible. Raises ValueError naming what is neither."""
    sure, possible = set(), set()
    for word in line.split():
        match = _LINK.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is not a link; write i-j (sure) or ipj (possible), words counted from 0")
        link = Link(int(match[1]), int(match[3]))
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return GoldLinks(frozenset(sure), frozenset(possible))


def read_links(path: Path) -> Iterator[GoldLinks]:
    """Read a file of Pharaoh lines, one sentence pair a line, one line in memory at a time.

    Raises ValueError naming file and line where a line holds something that is not a link.
    """
    # Bytes that are no UTF-8 become a character that is no link, so they are reported with their line like the rest.
    with open(path, encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield parse_pharaoh(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None


def alignment_error_rate(
    hypothesis: Sequence[Collection[tuple[int, int]]],
    sure: Sequence[Collection[tuple[int, int]]],
    possible: Sequence[Collection[tuple[int, int]]],
) -> Agreement:
    """Compare links A with sure links S and possible links P, counted over the whole corpus.

    AER = 1 - (|A & S| + |A & P|) / (|A| + |S|), precision = |A & P| / |A|, recall = |A & S| / |S| (Och & Ney, 2003).
    Sure links count as possible whether `possible` repeats them or not. A ratio of nothing to nothing is perfect.
    Each argument holds one collection of links a sentence; raises ValueError where their numbers differ.
    """
    if not len(hypothesis) == len(sure) == len(possible):
        raise ValueError(
            f"links for {len(hypothesis)} sentences cannot be compared with gold links for {len(sure)} (sure) and "
            f"{len(possible)} (possible); give one line for each sentence pair, an empty one where nothing is linked"
        )
    n_links = n_sure = in_sure = in_possible = 0
    for a, s, p in zip(hypothesis, sure, possible, strict=True):
        found, certain = set(a), set(s)
        n_links += len(found)
        n_sure += len(certain)
        in_sure += len(found & certain)
        in_possible += len(found & (certain | set(p)))
    return Agreement(
        aer=1 - (in_sure + in_possible) / (n_links + n_sure) if n_links + n_sure else 0.0,
        precision=in_possible / n_links if n_links else 1.0,
        recall=in_sure / n_sure if n_sure else 1.0,
    )


class AttentionWriter:
    """Writes one matrix a sentence into an .npz that `np.load` opens, each as it comes, under its line number from "0".

        with AttentionWriter(path) as writer:
            writer.write(weights)

    Memory holds one matrix and a small directory entry for each earlier one. The file is written beside its place and
    takes it at the end; after an error what was there before is untouched. Equal matrices give equal bytes.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.lines = 0
        self._beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")

    def __enter__(self) -> "AttentionWriter":
        self._archive = zipfile.ZipFile(self._beside, "w", zipfile.ZIP_STORED)
        return self

    def write(self, weights: np.ndarray) -> None:
        """Add the next line's matrix (Tw, Sw), stored as float32; 0x0 for an empty line keeps the numbering."""
        # ZipInfo's own default date, 1980, keeps the file free of the clock.
        entry = zipfile.ZipInfo(f"{self.lines}.npy")
        with self._archive.open(entry, "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.asarray(weights, dtype=np.float32), allow_pickle=False)
        self.lines += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # close() writes the archive's directory, which fails too where the disk is full.
        try:
            self._archive.close()
            if kind is None:
                os.replace(self._beside, self.path)
        finally:
            self._beside.unlink(missing_ok=True)
