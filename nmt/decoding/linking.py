"""The weights from which an alignment head links given translations."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from nmt.alignment_head import TranslatorWithHead
from nmt.data.symbols import BOS
from nmt.decoding.batching import batches, pad


class Ids(NamedTuple):
    """A source and its translation as ids; src ends in EOS, tgt ends in EOS if it is finished."""

    src: list[int]
    tgt: list[int]


@torch.inference_mode()
def link_weights(head: TranslatorWithHead, pairs: Sequence[Ids], batch_size: int) -> list[np.ndarray]:
    """The alignment weights (T, S) of each pair, float32, by a head in eval mode; rows sum to one.

    Pairs of similar length share a batch. A pair without target pieces has weights (0, S).
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
            # A copy, as a view would keep the array of the whole batch in memory.
            found[row] = matrix[: len(pairs[row].tgt), : len(pairs[row].src)].copy()
    return found
