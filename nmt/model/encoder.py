"""The recurrent encoder: embeddings and a stack of recurrent layers, in one direction or both."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from nmt.layers.cells import Cell, CellKind
from nmt.layers.dropout import Dropout
from nmt.layers.embedding import Embedding
from nmt.layers.loops import ReferenceLoops
from nmt.layers.stack import StackOptions, build_layer


class EncoderOutput(NamedTuple):
    """memory (B, S, M): zero on padding; mask (B, S): True on real tokens; forward_last, backward_first (B, H): the
    outputs of the top layer that have read all of the sentence (backward_first has width 0 in an encoder of one
    direction)."""

    memory: Tensor
    mask: Tensor
    forward_last: Tensor
    backward_first: Tensor


class Encoder(nn.Module):
    """A stack of `layers` recurrent layers with `hidden` units per direction, over embeddings of width `embedding`.

    Padding does not affect a sentence: the backward direction starts at the end of the sentence.
    # Bahdanau et al. (2015), 3.2
    stack: further options of the layers. loops: run the cells; Seq2Seq sets them.
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        embedding: int,
        hidden: int,
        layers: int = 1,
        cell: CellKind = CellKind.gru,
        bidirectional: bool = True,
        dropout: float = 0.0,
        stack: StackOptions | None = None,
    ):
        super().__init__()
        directions, stack = 2 if bidirectional else 1, stack or StackOptions()
        self.residual = stack.residual
        self.loops = ReferenceLoops()
        self.hidden = hidden
        self.size = directions * hidden
        self.embedding = Embedding(vocab_size, embedding)
        self.dropout = Dropout(dropout)
        widths = [embedding] + [self.size] * (layers - 1)
        self.forwards = nn.ModuleList(build_layer(stack, cell, width, hidden) for width in widths)
        self.backwards = nn.ModuleList(build_layer(stack, cell, width, hidden) for width in widths if bidirectional)

    @property
    def cells(self) -> list[tuple[Cell, ...]]:
        """The cells of each layer: forward and optionally backward."""
        both = [self.forwards, self.backwards] if self.backwards else [self.forwards]
        return [cast("tuple[Cell, ...]", layer) for layer in zip(*both, strict=True)]

    def forward(self, src: Tensor, src_lengths: Tensor) -> EncoderOutput:
        """src (B, S), src_lengths (B,) -> EncoderOutput."""
        batch, steps = src.shape
        mask = torch.arange(steps, device=src.device) < src_lengths.unsqueeze(1)
        last = (src_lengths - 1).view(batch, 1, 1).expand(batch, 1, self.hidden)
        memory = self.embedding(src)
        ends = []
        for layer, cells in enumerate(self.cells):
            below, drawn = memory, [cell.drawn() for cell in cells]
            outputs = self.loops.run_directions(drawn, self.dropout(below), src_lengths, mask)
            if self.residual and layer:
                parts = below.split(self.hidden, 2)
                outputs = [output + part for output, part in zip(outputs, parts, strict=True)]
            ends = [outputs[0].gather(1, last).squeeze(1), *(output[:, 0] for output in outputs[1:])]
            memory = torch.cat(outputs, 2)
        if not self.backwards:
            ends.append(memory.new_zeros(batch, 0))
        return EncoderOutput(self.dropout(memory), mask, *ends)
