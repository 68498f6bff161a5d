"""Sentences in windows, in batches of like length, and padded: for the translator and for forced decoding."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from nmt.data.symbols import PAD

# Padded pieces a batch: 64 sentences of 128. With a beam of 5 and 512-wide keys a step then needs about 90 MB.
BATCH_PIECES = 8192
# Numbers in the attention matrices that wait in a window, if targets are as long as sources: 128 MB.
WINDOW_WEIGHTS = 2**25

Item = TypeVar("Item")


def windows(items: Iterable[Item], max_size: int, weights: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Consecutive items, at most `max_size` and about WINDOW_WEIGHTS numbers of attention a window.

    weights: how many numbers of attention an item has.
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
    """The rows in the order given, at most batch_size and BATCH_PIECES padded pieces a batch.

    lengths: the pieces of every row, by its number. apart: a row of up to so many pieces comes in no batch that began
    with longer ones.
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
    """ids (B, S) with PAD behind each sentence, and lengths (B,)."""
    lengths = np.array([len(ids) for ids in sentences])
    padded = np.full((len(sentences), lengths.max()), PAD)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = list(chain(*sentences))
    return torch.from_numpy(padded), torch.from_numpy(lengths)
