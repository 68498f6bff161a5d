"""A toy model behind the seam that search knows: random weights, but a real state, real attention and a real mask."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from nmt.data.symbols import BOS, EOS, PAD


class ToySource(NamedTuple):
    memory: Tensor  # (B, S, H)
    mask: Tensor  # (B, S)

    def select(self, rows: Tensor) -> "ToySource":
        return ToySource(self.memory[rows], self.mask[rows])


class ToyState(NamedTuple):
    hidden: Tensor  # (N, H)

    def select(self, rows: Tensor) -> "ToyState":
        return ToyState(self.hidden[rows])


class ToyModel:
    """A step attends, updates and predicts in float64. PAD and BOS are made the likeliest tokens of all, as a trap.

    seen: (N, B) of each step; end: what is added to the logit of EOS; logits: a fixed row that replaces the real ones.
    """

    def __init__(self, vocab_size: int = 9, *, seed: int = 0, end: float = 0.0, attention: bool = True, logits=None):
        draw = torch.Generator().manual_seed(seed)
        self.words = torch.randn(40, 8, generator=draw, dtype=torch.float64)
        self.update = torch.randn(16, 8, generator=draw, dtype=torch.float64) / 2
        self.output = torch.randn(16, vocab_size, generator=draw, dtype=torch.float64)
        self.bias = torch.zeros(vocab_size, dtype=torch.float64)
        self.bias[EOS] = end
        self.bias[[PAD, BOS]] = 4.0
        self.has_attention = attention
        self.logits = logits
        self.training = False
        self.device = torch.device("cpu")
        self.seen: list[tuple[int, int]] = []
        self.options: dict[str, object] = {}
        self.encoded: list[tuple[int, ...]] = []

    def for_inference(self, **options):
        self.options = options
        return self

    def encode(self, src, src_lengths):
        self.encoded.append(tuple(src.shape))
        mask = torch.arange(src.shape[1]) < src_lengths[:, None]
        memory = self.words[src % 40]
        mean = (memory * mask[:, :, None]).sum(1) / src_lengths[:, None]
        return ToySource(memory, mask), ToyState(torch.tanh(mean))

    def step(self, tokens, state, source):
        rows, sentences = len(tokens), len(source.mask)
        self.seen.append((rows, sentences))
        hidden = state.hidden.view(sentences, rows // sentences, -1)
        energies = (hidden @ source.memory.transpose(1, 2)).masked_fill(~source.mask[:, None], -torch.inf)
        weights = energies.softmax(-1)
        context = (weights @ source.memory).flatten(0, 1)
        hidden = torch.tanh(torch.cat([state.hidden + self.words[tokens % 40], context], 1) @ self.update)
        logits = torch.cat([hidden, context], 1) @ self.output + self.bias
        if self.logits is not None:
            logits = self.logits.expand(rows, -1)
        weights = weights.flatten(0, 1)
        return logits, ToyState(hidden), weights if self.has_attention else weights[:, :0]


@pytest.fixture
def toy():
    """The class, to be built with the seed and the size that a test wants."""
    return ToyModel
