"""Links of given translations by an alignment head."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from nmt.alignment_head import TranslatorWithHead
from nmt.data.symbols import BOS
from nmt.decoding.batching import batches, pad


class Ids(NamedTuple):
    """A source and its translation in ids; src ends in EOS, and so does tgt if it is finished."""

    src: list[int]
    tgt: list[int]


@torch.inference_mode()
def link_weights(head: TranslatorWithHead, pairs: Sequence[Ids], batch_size: int) -> list[np.ndarray]:
    """Of each pair the weights (T, S), float32, by which a head in eval mode links its pieces; their rows sum to one.

    Pairs of like length go together. A target without a piece has (0, S).
    """
    found = [np.zeros((0, len(pair.src)), np.float32) for pair in pairs]
    longer = [max(map(len, pair)) for pair in pairs]
    order = sorted((row for row, pair in enumerate(pairs) if pair.tgt), key=lambda row: -longer[row])
    for rows in batches(order, longer, batch_size):
        src, src_lengths = pad([pairs[row].src for row in rows])
        tgt_in, _ = pad([[BOS, *pairs[row].tgt[:-1]] for row in rows])
        tgt_out, _ = pad([pairs[row].tgt for row in rows])
        sides = (each.to(head.device) for each in (src, src_lengths, tgt_in, tgt_out))
        weights = head.align(*sides).log_weights.exp().cpu().numpy()
        for row, matrix in zip(rows, weights, strict=True):
            # A copy, so that a sentence does not hold on to its batch.
            found[row] = matrix[: len(pairs[row].tgt), : len(pairs[row].src)].copy()
    return found
