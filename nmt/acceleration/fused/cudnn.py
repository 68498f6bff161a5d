"""Cells that cuDNN has, over a whole sequence in one call, with the weights of our cells: checkpoints fit any device.

cuDNN has the LSTM and the GRU whose reset gate is applied after the recurrent product. It does not have the published
GRU, whose reset gate is applied before it. The state between steps is in the type of products.
"""

import torch
from torch import Tensor, nn

from nmt.acceleration.kernels import Kernel, is_enabled
from nmt.layers.cells import Cell, GRUResetAfterCell, LSTMCell


def is_supported(cell: Cell, inputs: Tensor, dtype: torch.dtype) -> bool:
    """Whether cuDNN can run this cell over `inputs`, in `dtype`."""
    known = type(cell) in (LSTMCell, GRUResetAfterCell) and not cell.transitions
    return known and is_enabled(Kernel.cudnn, inputs, dtype)


def run(cell: Cell, inputs: Tensor, start: Tensor, dtype: torch.dtype) -> Tensor:
    """inputs (T, B, X), start (B, state_size) -> outputs (T, B, H), in `dtype`. On a CPU torch computes the same."""
    hidden = start[:, : cell.size].to(dtype).unsqueeze(0).contiguous()
    weights = _weights(cell, dtype)
    options = (True, 1, 0.0, True, False, False)  # biases, layers, dropout, training, both directions, batch first
    if isinstance(cell, LSTMCell):
        cell_state = start[:, cell.size :].to(dtype).unsqueeze(0).contiguous()
        return torch.lstm(inputs.to(dtype), (hidden, cell_state), weights, *options)[0]
    return torch.gru(inputs.to(dtype), hidden, weights, *options)[0]


def _weights(cell: Cell, dtype: torch.dtype) -> list[Tensor]:
    """Input and recurrent weights and their biases with torch's order of gates, contiguous in memory, so that cuDNN
    needs no copy."""
    assert isinstance(cell.project, nn.Linear), cell.project
    parts = (cell.project.weight, cell.weight, cell.project.bias, _recurrent_bias(cell))
    ordered = [_reordered(cell, part) for part in parts]
    flat = torch.cat([part.flatten() for part in ordered]).to(dtype)
    pieces = flat.split([part.numel() for part in ordered])
    return [piece.view_as(part) for piece, part in zip(pieces, ordered, strict=True)]


def _recurrent_bias(cell: Cell) -> Tensor:
    bias = cell.project.bias
    if isinstance(cell, GRUResetAfterCell):
        return torch.cat((bias.new_zeros(2 * cell.size), cell.candidate_bias))
    return torch.zeros_like(bias)


def _reordered(cell: Cell, part: Tensor) -> Tensor:
    """Reorders rows from the order of our gates to torch's: i, f, o, g -> i, f, g, o; z, r, n -> r, 1 - z, n, because z
    weights the new state here and the old state in torch."""
    if isinstance(cell, LSTMCell):
        input_gate, forget_gate, output_gate, candidate = part.chunk(4)
        return torch.cat((input_gate, forget_gate, candidate, output_gate))
    update, reset, candidate = part.chunk(3)
    return torch.cat((reset, -update, candidate))
