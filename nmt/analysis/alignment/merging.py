"""Merges attention between pieces into attention between words."""

import re
from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import category

import numpy as np

_WORD_START = "\u2581"  # SentencePiece's symbol for a space, which may be a piece of its own
_BYTE = re.compile("<0x[0-9A-F]{2}>")  # a byte of a character that has no piece


class WordAttention(NamedTuple):
    """Attention of each target word over source words: `weights.sum(1) + eos == 1`.

    weights: (Tw, Sw) float32, or (Tw, 0) without stored attention. eos: (Tw,) float32, the weight on the end of
    sentence and on other pieces that belong to no word.
    """

    weights: np.ndarray
    eos: np.ndarray


def merge(
    weights: np.ndarray, tgt_word_of: Sequence[int], src_word_of: Sequence[int], n_tgt: int, n_src: int
) -> WordAttention:
    """Merge weights between pieces into weights between words.

    A target word's attention is the weighted *mean* of its pieces' rows, in which the first counts as much as two of
    the second and as four of each other: the first piece mostly determines the word, and the last ones attend to the
    next word, but a text without spaces is one word. A source word's weight is the *sum* of its pieces' columns, so
    that each row still sums to one. Columns of -1 (the end of sentence) are summed separately, rows of -1 are left out.
    A target word without pieces (normalization can empty a word) has a row of zeros, and eos is 1. A source word
    without pieces has a column of zeros.

    weights: (T, S), rows sum to 1. tgt_word_of, src_word_of: the word of each of the T and S pieces, or -1. n_tgt,
    n_src: the numbers of words Tw and Sw.
    """
    assert weights.shape == (len(tgt_word_of), len(src_word_of)), "one word index for each row and each column"
    tgt_of = np.asarray(tgt_word_of, dtype=np.int64)
    src_of = np.asarray(src_word_of, dtype=np.int64)
    # The last row and column sum the pieces without a word; sums in float64 are accurate for long sentences.
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
    """The number (T,) of earlier pieces of the same word, for each piece."""
    order = np.argsort(word_of, kind="stable")
    ordered = word_of[order]
    first = np.searchsorted(ordered, ordered)
    place = np.empty(len(word_of), dtype=np.int64)
    place[order] = np.arange(len(word_of)) - first
    return place


def drop_punctuation(pieces: Sequence[str], word_of: Sequence[int]) -> list[int]:
    """word_of (T,) with -1 for pieces with only punctuation, and for bytes, in words with letters or digits
    elsewhere."""
    has_letters = [any(category(char)[0] in "LNM" for char in _BYTE.sub("", piece)) for piece in pieces]
    lettered_words = {word for word, lettered in zip(word_of, has_letters, strict=True) if lettered}
    return [
        word if lettered or piece == _WORD_START or word not in lettered_words else -1
        for piece, word, lettered in zip(pieces, word_of, has_letters, strict=True)
    ]
