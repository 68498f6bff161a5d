"""Small models in float64, and a ragged batch for them."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from nmt.data.batches import Batch
from tests.support.models import SmallModel, make_model


class Sentences(NamedTuple):
    src: Tensor
    src_lengths: Tensor
    tgt_in: Tensor
    tgt_out: Tensor

    @property
    def batch(self) -> Batch:
        return Batch.of(*self)


def make_sentences(src_lengths=(7, 5, 2), tgt_lengths=(4, 6, 3), seed: int = 2) -> Sentences:
    generator = torch.Generator().manual_seed(seed)

    def rows(lengths):
        ids = torch.randint(4, SmallModel.vocab_size, (len(lengths), max(lengths)), generator=generator)
        return ids.masked_fill(torch.arange(max(lengths)) >= torch.tensor(lengths).unsqueeze(1), 0)

    return Sentences(rows(src_lengths), torch.tensor(src_lengths), rows(tgt_lengths), rows(tgt_lengths))


@pytest.fixture
def make():
    """make(decoder="bahdanau", ...) -> a Seq2Seq of a few units, in float64."""
    return make_model


@pytest.fixture
def sentences() -> Sentences:
    """Three pairs of different lengths."""
    return make_sentences()


@pytest.fixture
def make_batch():
    """make_batch(src_lengths, tgt_lengths) -> Sentences."""
    return make_sentences
