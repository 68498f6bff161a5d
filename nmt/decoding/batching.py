"""Divides sentences into windows and into batches of similar length, and pads them, for search and forced decoding."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from nmt.data.symbols import PAD

# Pieces in a batch, padding included: 64 sentences of 128. With a beam of 5 and keys of size 512 a step needs 90 MB.
BATCH_PIECES = 8192
# Attention weights in a window, if targets are as long as sources: 128 MB.
WINDOW_WEIGHTS = 2**25

Item = TypeVar("Item")


def windows(items: Iterable[Item], max_size: int, weights: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Windows of consecutive items, each with at most `max_size` items and about WINDOW_WEIGHTS attention weights.

    weights: the number of attention weights of an item.
    """
    window, waiting = [], 0
    for item in items:
        window.append(item)
        waiting += weights(item)
        if len(window) == max_size or waiting >= WINDOW_WEIGHTS:
            yield window
            window, waiting = [], 0
    if window:
        yield window


def batches(
    rows: Iterable[int], lengths: Sequence[int], batch_size: int, *, apart: int | None = None
) -> Iterator[list[int]]:
    """Batches of the rows, in the given order, each with at most batch_size rows and BATCH_PIECES padded pieces.

    lengths: the number of pieces of each row, indexed by row. apart: a row of at most this many pieces is never in a
    batch with longer rows before it.
    """
    batch: list[int] = []
    longest = 0
    for row in rows:
        parted = apart is not None and longest > apart >= lengths[row]
        longest = max(longest, lengths[row])
        if batch and (parted or len(batch) == batch_size or (len(batch) + 1) * longest > BATCH_PIECES):
            yield batch
            batch, longest = [], lengths[row]
        batch.append(row)
    if batch:
        yield batch


def pad(sentences: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """The sentences as ids (B, S), padded with PAD, and their lengths (B,)."""
    lengths = np.array([len(ids) for ids in sentences])
    padded = np.full((len(sentences), lengths.max()), PAD)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = list(chain(*sentences))
    return torch.from_numpy(padded), torch.from_numpy(lengths)
