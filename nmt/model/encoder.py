"""The source sentence becomes annotations: embeddings and a stack of recurrent layers, in one direction or both."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from nmt.acceleration import fused
from nmt.data.symbols import PAD
from nmt.model.cells import Cell, CellKind, build_cell
from nmt.model.dropout import Dropout


class EncoderOutput(NamedTuple):
    """memory (B, S, M): zero on padding; mask (B, S): True on real tokens; forward_last, backward_first (B, H): the
    states that have read the whole sentence (backward_first has width 0 in an encoder of one direction)."""

    memory: Tensor
    mask: Tensor
    forward_last: Tensor
    backward_first: Tensor


def reversed_positions(lengths: Tensor, steps: int) -> Tensor:
    """lengths (B,) -> (B, S) positions that read each sentence backwards and leave its padding at the end.

    Gathering by it twice gives the sentence back.
    """
    positions = torch.arange(steps, device=lengths.device).expand(len(lengths), steps)
    flipped = lengths.unsqueeze(1) - 1 - positions
    return torch.where(flipped >= 0, flipped, positions)


class Encoder(nn.Module):
    """A stack of `layers` recurrent layers of `hidden` units a direction over embeddings of width `embedding`.

    What stands after a sentence can't reach it: the backward direction starts at its end.
    # Bahdanau et al. (2015), 3.2
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
    ):
        super().__init__()
        directions = 2 if bidirectional else 1
        self.hidden = hidden
        self.size = directions * hidden
        self.embedding = nn.Embedding(vocab_size, embedding, padding_idx=PAD)
        self.dropout = Dropout(dropout)
        widths = [embedding] + [self.size] * (layers - 1)
        self.forwards = nn.ModuleList(build_cell(cell, width, hidden) for width in widths)
        self.backwards = nn.ModuleList(build_cell(cell, width, hidden) for width in widths if bidirectional)

    @property
    def cells(self) -> list[tuple[Cell, ...]]:
        """The cells of each layer: forward and perhaps backward."""
        both = [self.forwards, self.backwards] if self.backwards else [self.forwards]
        return [cast("tuple[Cell, ...]", layer) for layer in zip(*both, strict=True)]

    def forward(self, src: Tensor, src_lengths: Tensor) -> EncoderOutput:
        """src (B, S), src_lengths (B,) -> EncoderOutput."""
        batch, steps = src.shape
        mask = torch.arange(steps, device=src.device) < src_lengths.unsqueeze(1)
        last = (src_lengths - 1).view(batch, 1, 1).expand(batch, 1, self.hidden)
        memory = self.embedding(src)
        ends = []
        for cells in self.cells:
            memory = self.dropout(memory)
            outputs = self._run(cells, memory, src_lengths, mask)
            ends = [outputs[0].gather(1, last).squeeze(1), *(output[:, 0] for output in outputs[1:])]
            memory = torch.cat(outputs, 2)
        if not self.backwards:
            ends.append(memory.new_zeros(batch, 0))
        return EncoderOutput(self.dropout(memory), mask, *ends)

    @staticmethod
    def _run(cells: tuple[Cell, ...], inputs: Tensor, lengths: Tensor, mask: Tensor) -> list[Tensor]:
        """The cells of a layer, each over inputs (B, S, .) -> outputs (B, S, H) of each: 0 on padding."""
        if fused.is_fast(cells[0]) and not fused.takes_cudnn(cells[0], inputs):
            return _run_side_by_side(cells, inputs, mask)
        outputs = [_run_forward(cells[0], inputs)]
        for backward in cells[1:]:
            positions = reversed_positions(lengths, inputs.shape[1])
            outputs.append(gather_positions(_run_forward(backward, gather_positions(inputs, positions)), positions))
        return [output * mask.unsqueeze(2) for output in outputs]


def _run_forward(cell: Cell, inputs: Tensor) -> Tensor:
    """inputs (B, S, .) -> outputs (B, S, H), from a state of zeros."""
    start = cell.weight.new_zeros(len(inputs), cell.state_size)
    return fused.outputs(cell, inputs.transpose(0, 1), start)[1:].transpose(0, 1)


def gather_positions(inputs: Tensor, positions: Tensor) -> Tensor:
    """inputs (B, S, X) read at positions (B, S)."""
    rows = positions + inputs.shape[1] * torch.arange(len(inputs), device=inputs.device).unsqueeze(1)
    return inputs.flatten(0, 1).index_select(0, rows.flatten()).view_as(inputs)


def _run_side_by_side(cells: tuple[Cell, ...], inputs: Tensor, mask: Tensor) -> list[Tensor]:
    """All directions in one loop: time is flipped for the backward one, whose state stays zero on the padding it meets
    first, so no sentence has to be turned round."""
    projected = [cell.project(inputs).transpose(0, 1) for cell in cells]
    step_mask = mask.t().unsqueeze(2).to(inputs.dtype)
    flipped = [step_mask, step_mask.flip(0)][: len(cells)]
    projected[1:] = [part.flip(0) for part in projected[1:]]
    outputs = fused.run_directions(cells, torch.stack(projected), torch.stack(flipped)).unbind(0)
    return [outputs[0].transpose(0, 1), *(output.flip(0).transpose(0, 1) for output in outputs[1:])]
