"""Attention between pieces made into attention between words."""

import re
from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import category

import numpy as np

_WORD_START = "\u2581"  # SentencePiece's mark, which may be a piece of its own
_BYTE = re.compile("<0x[0-9A-F]{2}>")  # a piece of a character that has no piece


class WordAttention(NamedTuple):
    """Attention of each target word over source words: `weights.sum(1) + eos == 1`.

    weights: (Tw, Sw) float32, or (Tw, 0) where no attention was kept. eos: (Tw,) float32, the mass on the end of
    sentence and on whatever else is no word.
    """

    weights: np.ndarray
    eos: np.ndarray


def merge(
    weights: np.ndarray, tgt_word_of: Sequence[int], src_word_of: Sequence[int], n_tgt: int, n_src: int
) -> WordAttention:
    """Turn weights between pieces into weights between words.

    The rule: a target word's attention is the *mean* of its pieces' rows, of which the first counts as much as two of
    the second and as four of each other: the first piece mostly says what the word is, and the last ones attend to the
    next word, but a text without spaces is one word. A source word's share of it is the
    *sum* of its pieces' columns, so that each row still sums to one. Columns of -1 (the end of sentence) are summed
    apart, rows of -1 are left out. A target word that got no piece (normalization can empty a word) attends to no word:
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
    piece_weight = 0.5 ** np.minimum(_place_in_word(owner), 2)
    np.add.at(rows, owner, piece_weight[:, None] * columns)
    total = np.bincount(owner, piece_weight, minlength=n_tgt + 1)
    rows[:, n_src][total == 0] = total[total == 0] = 1.0
    words = (rows / total[:, None])[:n_tgt].astype(np.float32)
    return WordAttention(np.ascontiguousarray(words[:, :n_src]), words[:, n_src].copy())


def _place_in_word(word_of: np.ndarray) -> np.ndarray:
    """(T,) how many pieces of the same word stand before each."""
    order = np.argsort(word_of, kind="stable")
    ordered = word_of[order]
    first = np.searchsorted(ordered, ordered)
    place = np.empty(len(word_of), dtype=np.int64)
    place[order] = np.arange(len(word_of)) - first
    return place


def drop_punctuation(pieces: Sequence[str], word_of: Sequence[int]) -> list[int]:
    """word_of (T,) with -1 for pieces of marks alone, and for bytes, in words that have letters or digits elsewhere."""
    has_letters = [any(category(char)[0] in "LNM" for char in _BYTE.sub("", piece)) for piece in pieces]
    lettered_words = {word for word, lettered in zip(word_of, has_letters, strict=True) if lettered}
    return [
        word if lettered or piece == _WORD_START or word not in lettered_words else -1
        for piece, word, lettered in zip(pieces, word_of, has_letters, strict=True)
    ]
