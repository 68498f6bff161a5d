"""Recurrent cells: what one step does to a state.

A cell's part that does not recur, the product with its input, is ``project`` and is made for all steps at once;
``forward`` is the rest. A state is one tensor (N, state_size): h for a GRU, [h; c] for an LSTM.
"""

from collections.abc import Callable, Sequence
from copy import copy
from enum import Enum
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional


class CellKind(Enum):
    """The closed list of cells; the values are the words of ``model.encoder.cell`` and ``model.decoder.cell``."""

    gru = "gru"
    gru_reset_after = "gru_reset_after"
    lstm = "lstm"


class Cell(nn.Module):
    """A recurrent cell of width `size` (H) on inputs of width `input_size`."""

    gates: int
    recurrent_dropout = 0.0

    def __init__(self, input_size: int, size: int):
        super().__init__()
        self.size = size
        self.project = nn.Linear(input_size, self.gates * size)
        self.weight = nn.Parameter(torch.empty(self.gates * size, size))
        nn.init.uniform_(self.weight, -(size**-0.5), size**-0.5)

    @property
    def state_size(self) -> int:
        return self.size

    def drawn(self) -> Self:
        """The cell for one pass over a batch. In training, with recurrent_dropout, that share of the state's units does
        not reach the gates, the same in all steps and sentences, and the others are divided by 1 - recurrent_dropout;
        what the state itself keeps is not dropped.  # Gal and Ghahramani (2016), eq. 7, with one mask for the batch

        A mask of the batch is one of the recurrent weight's columns, so every loop that runs the cell has it.
        """
        if not self.training or not self.recurrent_dropout:
            return self
        drawn = torch.rand(self.size, device=self.weight.device) >= self.recurrent_dropout
        cell = copy(self)
        cell._parameters = {name: weight for name, weight in self._parameters.items() if name != "weight"}
        cell.__dict__["weight"] = self.weight * (drawn.to(self.weight.dtype) / (1 - self.recurrent_dropout))
        return cell

    def output(self, state: Tensor) -> Tensor:
        """state (..., state_size) -> what others see of it (..., H)."""
        return state[..., : self.size]

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        """projected (N, gates * H): all that the gates get from outside; state (N, state_size) -> the next state."""
        raise NotImplementedError


class GRUCell(Cell):
    """The reset gate acts before the recurrent product, as published; gates in the order z, r, candidate.

    z, r = sigmoid(x + U s);  s~ = tanh(x + U (r * s));  s' = (1 - z) * s + z * s~   # Bahdanau et al. (2015), A.1.1
    """

    gates = 3

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        gate_x, candidate_x = projected.split((2 * self.size, self.size), -1)
        gate_weight, candidate_weight = self.weight.split((2 * self.size, self.size))
        update, reset = torch.sigmoid(gate_x + functional.linear(state, gate_weight)).chunk(2, -1)
        candidate = torch.tanh(candidate_x + functional.linear(reset * state, candidate_weight))
        return torch.lerp(state, candidate.to(state.dtype), update.to(state.dtype))


class GRUResetAfterCell(Cell):
    """The reset gate acts after the recurrent product, as cuDNN and torch.nn.GRU compute it; gates z, r, candidate.

    z, r = sigmoid(x + U s);  s~ = tanh(x + r * (U s + b));  s' = (1 - z) * s + z * s~
    """

    gates = 3

    def __init__(self, input_size: int, size: int):
        super().__init__(input_size, size)
        self.candidate_bias = nn.Parameter(torch.zeros(size))

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        gate_x, candidate_x = projected.split((2 * self.size, self.size), -1)
        gate_u, candidate_u = functional.linear(state, self.weight).split((2 * self.size, self.size), -1)
        update, reset = torch.sigmoid(gate_x + gate_u).chunk(2, -1)
        candidate = torch.tanh(candidate_x + reset * (candidate_u + self.candidate_bias))
        return torch.lerp(state, candidate.to(state.dtype), update.to(state.dtype))


class LSTMCell(Cell):
    """Gates in the order input, forget, output, candidate; the state is [h; c].  # Hochreiter and Schmidhuber (1997)

    The forget gate starts open (bias 1).
    """

    gates = 4

    def __init__(self, input_size: int, size: int):
        super().__init__(input_size, size)
        self.open_forget_gate()

    def open_forget_gate(self) -> None:
        """Sets the forget gate's bias to 1.  # Jozefowicz et al. (2015)"""
        with torch.no_grad():
            self.project.bias[self.size : 2 * self.size] = 1.0

    @property
    def state_size(self) -> int:
        return 2 * self.size

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        hidden, cell = state.split(self.size, -1)
        gates = projected + functional.linear(hidden, self.weight)
        sigmoids, candidate = gates.split((3 * self.size, self.size), -1)
        input_gate, forget_gate, output_gate = torch.sigmoid(sigmoids).to(state.dtype).chunk(3, -1)
        cell = forget_gate * cell + input_gate * torch.tanh(candidate).to(state.dtype)
        return torch.cat((output_gate * torch.tanh(cell), cell), -1)


def build_cell(kind: CellKind, input_size: int, size: int) -> Cell:
    match kind:
        case CellKind.gru:
            return GRUCell(input_size, size)
        case CellKind.gru_reset_after:
            return GRUResetAfterCell(input_size, size)
        case CellKind.lstm:
            return LSTMCell(input_size, size)
        case _:
            raise ValueError(f"cell={kind}: legal are {', '.join(k.value for k in CellKind)}")


def step_upper_cells(
    cells: Sequence[Cell], dropout: Callable[[Tensor], Tensor], bottom: Tensor, states: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """One step of the cells above the first, whose new state is `bottom` -> all new states, bottom first.

    states: the old ones, (N, state_size) each; dropout: on what a cell takes from the one below.
    """
    new = [bottom]
    for below, cell, old in zip(cells, cells[1:], states[1:], strict=False):
        new.append(cell(cell.project(dropout(below.output(new[-1]))), old))
    return tuple(new)
