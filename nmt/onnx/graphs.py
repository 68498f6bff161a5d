"""Encoder and decoder step as modules whose inputs and outputs are tensors only."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.model.seq2seq import Seq2Seq
from nmt.onnx.layout import BATCH, SRC_LENGTH, Layout, Part

NEXT = "next_"  # the prefix of the names of the new state's parts


class Graph(NamedTuple):
    """A module with its inputs and outputs, in order."""

    module: nn.Module
    inputs: list[Part]
    outputs: list[Part]


class EncoderGraph(nn.Module):
    """src (B, S), src_lengths (B,) -> the parts of the source, then those of the initial state."""

    def __init__(self, model: Seq2Seq, source: Layout, state: Layout):
        super().__init__()
        self.model, self.source, self.state = model, source, state

    def forward(self, src: Tensor, src_lengths: Tensor) -> list[Tensor]:
        source, state = self.model.encode(src, src_lengths)
        return [*self.source.hold(source), *self.state.hold(state)]


class DecoderGraph(nn.Module):
    """tokens (B,), the parts of the source and of the state -> log_probs (B, V), weights (B, S) if the model has
    attention, and the parts of the new state."""

    def __init__(self, model: Seq2Seq, source: Layout, state: Layout):
        super().__init__()
        self.model, self.source, self.state = model, source, state

    def forward(self, tokens: Tensor, source: list[Tensor], state: list[Tensor]) -> list[Tensor]:
        batch, src_length = source[0].shape[:2]
        logits, new, weights = self.model.step(
            tokens, self.state.build(state, batch, src_length), self.source.build(source, batch, src_length)
        )
        shown = [weights] if self.model.has_attention else []
        return [logits.log_softmax(-1), *shown, *self.state.hold(new)]


def encoder_graph(model: Seq2Seq, source: Layout, state: Layout) -> Graph:
    inputs = [Part("src", torch.long, (BATCH, SRC_LENGTH)), Part("src_lengths", torch.long, (BATCH,))]
    return Graph(EncoderGraph(model, source, state), inputs, [*source.held, *state.held])


def decoder_graph(model: Seq2Seq, source: Layout, state: Layout) -> Graph:
    vocab_size = model.output.out_features
    shown = [Part("weights", torch.float32, (BATCH, SRC_LENGTH))] if model.has_attention else []
    inputs = [Part("tokens", torch.long, (BATCH,)), *source.held, *state.held]
    new = [Part(f"{NEXT}{part.name}", part.dtype, part.shape) for part in state.held]
    outputs = [Part("log_probs", torch.float32, (BATCH, vocab_size)), *shown, *new]
    return Graph(DecoderGraph(model, source, state), inputs, outputs)
