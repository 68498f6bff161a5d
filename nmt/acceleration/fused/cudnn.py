"""Cells that cuDNN knows, over a whole sequence in one call, on our own weights: a checkpoint depends on no device.

cuDNN knows the LSTM and the GRU whose reset gate acts after the recurrent product. It does not know the GRU as
published, whose reset gate acts before it. The state between steps is kept in the type of products.
"""

import torch
from torch import Tensor, nn

from nmt.acceleration.kernels import Kernel, is_enabled
from nmt.layers.cells import Cell, GRUResetAfterCell, LSTMCell


def is_supported(cell: Cell, inputs: Tensor, dtype: torch.dtype) -> bool:
    """Whether cuDNN runs this cell over `inputs`, in `dtype`."""
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
    """Input and recurrent weights and their biases in the order of torch's gates, one after the other in one memory,
    which is how cuDNN takes them without another copy."""
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
    """Rows by our gates -> by torch's: i, f, o, g -> i, f, g, o; z, r, n -> r, 1 - z, n, as its update gate keeps the
    old state where ours takes the new one."""
    if isinstance(cell, LSTMCell):
        input_gate, forget_gate, output_gate, candidate = part.chunk(4)
        return torch.cat((input_gate, forget_gate, candidate, output_gate))
    update, reset, candidate = part.chunk(3)
    return torch.cat((reset, -update, candidate))
