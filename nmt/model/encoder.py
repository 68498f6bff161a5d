"""The source sentence becomes annotations: embeddings and a stack of recurrent layers, in one direction or both."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmt.data.symbols import PAD
from nmt.model.cells import CellKind, build_cell, run_cell


class Encoded(NamedTuple):
    """memory (B, S, M): zero on padding; mask (B, S): True on real tokens; forward_last, backward_first (B, H): the
    states that have read the whole sentence (backward_first has width 0 in an encoder of one direction)."""

    memory: Tensor
    mask: Tensor
    forward_last: Tensor
    backward_first: Tensor


def reversal(lengths: Tensor, steps: int) -> Tensor:
    """lengths (B,) -> (B, S) positions that read each sentence backwards and leave its padding at the end.

    Gathering by it twice gives the sentence back.
    """
    positions = torch.arange(steps, device=lengths.device).expand(len(lengths), steps)
    flipped = lengths.unsqueeze(1) - 1 - positions
    return torch.where(flipped >= 0, flipped, positions)


class Encoder(nn.Module):
    """A stack of `layers` recurrent layers of `hidden` units a direction over embeddings of width `embedding`.

    Padding stands after a sentence in both directions, so it can't reach a real position.  # Bahdanau et al. (2015), 3.2
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        embedding: int,
        hidden: int,
        layers: int = 1,
        cell: CellKind = CellKind.gru,
        bidirectional: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        directions = 2 if bidirectional else 1
        self.hidden = hidden
        self.size = directions * hidden
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        widths = [embedding] + [self.size] * (layers - 1)
        self.forwards = nn.ModuleList(build_cell(cell, width, hidden) for width in widths)
        self.backwards = nn.ModuleList(build_cell(cell, width, hidden) for width in widths if bidirectional)

    def forward(self, src: Tensor, src_lengths: Tensor) -> Encoded:
        """src (B, S), src_lengths (B,) -> Encoded."""
        batch, steps = src.shape
        mask = torch.arange(steps, device=src.device) < src_lengths.unsqueeze(1)
        backwards_in = reversal(src_lengths, steps).unsqueeze(2)
        last = (src_lengths - 1).view(batch, 1, 1).expand(batch, 1, self.hidden)
        memory = self.embedding(src)
        ends = []
        for layer, cell in enumerate(self.forwards):
            memory = self.dropout(memory)
            outputs = [self._run(cell, memory)]
            if self.backwards:
                there = backwards_in.expand(batch, steps, memory.shape[2])
                back = backwards_in.expand(batch, steps, self.hidden)
                outputs.append(self._run(self.backwards[layer], memory.gather(1, there)).gather(1, back))
            ends = [outputs[0].gather(1, last).squeeze(1), *(output[:, 0] for output in outputs[1:])]
            memory = torch.cat(outputs, 2) * mask.unsqueeze(2)
        if not self.backwards:
            ends.append(memory.new_zeros(batch, 0))
        return Encoded(self.dropout(memory), mask, *ends)

    @staticmethod
    def _run(cell, inputs: Tensor) -> Tensor:
        """inputs (B, S, .) -> outputs (B, S, H), from a state of zeros."""
        projected = cell.project(inputs)
        start = torch.zeros(len(inputs), cell.state_size, dtype=inputs.dtype, device=inputs.device)
        return cell.output(run_cell(cell, projected, start))
