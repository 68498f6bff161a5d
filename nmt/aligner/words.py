"""Merges posteriors between pieces into posteriors between words, for a whole batch.

The rules are those of `drop_punctuation`, `merge` and `mean_links` in nmt.analysis.alignment, which treat one pair.
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
    """Two properties of each piece of a vocabulary, (V,) each.

    lettered: whether it counts in a word that has letters. space: whether it is a space alone, which always counts.
    """

    lettered: np.ndarray
    space: np.ndarray


def piece_kinds(subwords: Subwords) -> PieceKinds:
    """The kinds of all pieces of a vocabulary, by the rule of `drop_punctuation`."""
    vocabulary = subwords.vocabulary
    beside = (drop_punctuation([piece, "a"], [0, 0])[0] == 0 for piece in vocabulary)
    space = np.array([piece == _WORD_START for piece in vocabulary])
    return PieceKinds(np.array(list(beside)) & ~space, space)


class Sides(NamedTuple):
    """One side of B pairs, without EOS: ids (B, N), lengths (B,) in pieces, words (B,) the numbers of words, and owner
    (B, N) the word of each piece, -1 for padding."""

    ids: Tensor
    lengths: Tensor
    words: np.ndarray
    owner: np.ndarray


def side_of(ids: Sequence[Sequence[int]], owners: Sequence[Sequence[int]], words: Sequence[int]) -> Sides:
    """The padded arrays of one side of B pairs, from the ids and owners of the pieces and the numbers of words."""
    lengths = np.array([len(each) for each in ids], dtype=np.int64)
    here = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
    padded, owner = np.zeros(here.shape, np.int64), np.full(here.shape, -1, np.int64)
    padded[here] = np.fromiter(chain.from_iterable(ids), np.int64)
    owner[here] = np.fromiter(chain.from_iterable(owners), np.int64)
    return Sides(torch.from_numpy(padded), torch.from_numpy(lengths), np.array(words, dtype=np.int64), owner)


def membership(side: Sides) -> Tensor:
    """(B, N, W) float32: 1 if the piece belongs to the word, else 0."""
    words = int(side.words.max(initial=0))
    return torch.from_numpy((side.owner[:, :, None] == np.arange(words)).astype(np.float32))


def mean_over_pieces(side: Sides, kinds: PieceKinds) -> Tensor:
    """(B, W, N) float32: the weight of each piece in its word; the weights of a word with pieces sum to one.

    The first piece of a word has twice the weight of the second and four times that of each further one. Punctuation
    has no weight in a word that has letters.
    """
    batch, width = side.owner.shape
    words = int(side.words.max(initial=0))
    ids = side.ids.numpy()
    row = np.arange(batch)[:, None]
    key = np.where(side.owner < 0, batch * words, row * words + side.owner)
    lettered = np.zeros(batch * words + 1, dtype=bool)
    lettered[key[kinds.lettered[ids] & (side.owner >= 0)]] = True
    counts = (side.owner >= 0) & (kinds.lettered[ids] | kinds.space[ids] | ~lettered[key])
    kept = key[counts]  # ascending, as the pieces are in the order of their words
    place = np.arange(len(kept)) - np.searchsorted(kept, kept)
    weight = 0.5 ** np.minimum(place, 2)
    total = np.bincount(kept, weight, minlength=batch * words + 1)
    found = np.zeros((batch * words, width), dtype=np.float32)
    found[kept, np.nonzero(counts)[1]] = weight / total[kept]
    return torch.from_numpy(found.reshape(batch, words, width))


def merged(posterior: Tensor, of_tgt: Tensor, of_src: Tensor) -> Tensor:
    """posterior (B, T, S) of pieces, of_tgt (B, Tw, T) and of_src (B, S, Sw) weights -> posterior (B, Tw, Sw) of words.

    The product is computed without autocast.
    """
    with torch.autocast(posterior.device.type, enabled=False):
        return torch.bmm(torch.bmm(of_tgt, posterior), of_src)


def mean_weights(forward: Tensor, backward: Tensor) -> Tensor:
    """The mean of both directions, as in analysis.alignment.mean_links: forward (B, Tw, Sw), backward (B, Sw, Tw) ->
    (B, Sw, Tw)."""
    return (forward.transpose(1, 2) + backward) / 2
