"""Posteriors between pieces made into posteriors between words, and into links, for a whole batch at once.

The rules are those of nmt.analysis.alignment: `drop_punctuation`, `merge` and `mean_links`, of one pair each.
"""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmt.analysis.alignment import drop_punctuation
from nmt.data.tokenizer import Subwords

_WORD_START = "\u2581"


class PieceKinds(NamedTuple):
    """Of each piece of a vocabulary (V,): lettered, whether it counts in a word that has letters; space, whether it is
    a space alone, which always counts."""

    lettered: np.ndarray
    space: np.ndarray


def piece_kinds(subwords: Subwords) -> PieceKinds:
    """What `drop_punctuation` says of each piece, beside a word of letters."""
    vocabulary = subwords.vocabulary
    beside = (drop_punctuation([piece, "a"], [0, 0])[0] == 0 for piece in vocabulary)
    space = np.array([piece == _WORD_START for piece in vocabulary])
    return PieceKinds(np.array(list(beside)) & ~space, space)


class Sides(NamedTuple):
    """One side of B pairs: ids (B, N) and lengths (B,) without the end of sentence; words (B,) how many words each has;
    owner (B, N): the word of each piece, -1 for padding."""

    ids: Tensor
    lengths: Tensor
    words: np.ndarray
    owner: np.ndarray


def side_of(ids: Sequence[Sequence[int]], owners: Sequence[Sequence[int]], words: Sequence[int]) -> Sides:
    """The lists of B pairs, padded."""
    lengths = np.array([len(each) for each in ids], dtype=np.int64)
    here = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
    padded, owner = np.zeros(here.shape, np.int64), np.full(here.shape, -1, np.int64)
    padded[here] = np.fromiter(chain.from_iterable(ids), np.int64)
    owner[here] = np.fromiter(chain.from_iterable(owners), np.int64)
    return Sides(torch.from_numpy(padded), torch.from_numpy(lengths), np.array(words, dtype=np.int64), owner)


def membership(side: Sides) -> Tensor:
    """(B, N, W) float32: 1 where a piece belongs to a word."""
    words = int(side.words.max(initial=0))
    return torch.from_numpy((side.owner[:, :, None] == np.arange(words)).astype(np.float32))


def mean_over_pieces(side: Sides, kinds: PieceKinds) -> Tensor:
    """(B, W, N) float32: the weight of each piece in its word, which sum to one in a word that has pieces.

    The first piece counts as much as two of the second and as four of each other; punctuation does not count in a word
    that has letters.
    """
    batch, width = side.owner.shape
    words = int(side.words.max(initial=0))
    ids = side.ids.numpy()
    row = np.arange(batch)[:, None]
    key = np.where(side.owner < 0, batch * words, row * words + side.owner)
    lettered = np.zeros(batch * words + 1, dtype=bool)
    lettered[key[kinds.lettered[ids] & (side.owner >= 0)]] = True
    counts = (side.owner >= 0) & (kinds.lettered[ids] | kinds.space[ids] | ~lettered[key])
    kept = key[counts]  # words never go back, so these rise
    place = np.arange(len(kept)) - np.searchsorted(kept, kept)
    weight = 0.5 ** np.minimum(place, 2)
    total = np.bincount(kept, weight, minlength=batch * words + 1)
    found = np.zeros((batch * words, width), dtype=np.float32)
    found[kept, np.nonzero(counts)[1]] = weight / total[kept]
    return torch.from_numpy(found.reshape(batch, words, width))


def merged(posterior: Tensor, of_tgt: Tensor, of_src: Tensor) -> Tensor:
    """posterior (B, T, S) of pieces, of_tgt (B, Tw, T), of_src (B, S, Sw) -> (B, Tw, Sw) of words."""
    with torch.autocast(posterior.device.type, enabled=False):
        return torch.bmm(torch.bmm(of_tgt, posterior), of_src)


def mean_weights(forward: Tensor, backward: Tensor) -> Tensor:
    """forward (B, Tw, Sw), backward (B, Sw, Tw) -> (B, Sw, Tw): see analysis.alignment.mean_links."""
    return (forward.transpose(1, 2) + backward) / 2
