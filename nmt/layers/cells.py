"""Recurrent cells: the computation of one step.

``project``, the product with the input, does not depend on the state and is computed for all steps at once; ``forward``
computes the rest. A state is one tensor (N, state_size): h for a GRU, [h; c] for an LSTM. The loops call ``step``:
``forward``, followed by the further transitions of a deep cell.
"""

from copy import copy
from enum import Enum
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class CellKind(Enum):
    """The cells: the values of ``model.encoder.cell`` and ``model.decoder.cell``."""

    gru = "gru"
    gru_reset_after = "gru_reset_after"
    lstm = "lstm"


class NoInput(nn.Module):
    """The projection of a cell without an input: the bias (W,) of its gates, for each row of a tensor (N, .)."""

    def __init__(self, width: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, rows: Tensor) -> Tensor:
        return self.bias.repeat(len(rows), 1)  # memory of its own: a cell may overwrite it


class Cell(nn.Module):
    """A recurrent cell of width `size` (H) with inputs of width `input_size`; 0: without input.

    transitions: cells without input, which transform the state further in the same step.  # Pascanu et al. (2014)
    """

    gates: int
    recurrent_dropout = 0.0

    def __init__(self, input_size: int, size: int):
        super().__init__()
        self.size = size
        self.project = nn.Linear(input_size, self.gates * size) if input_size else NoInput(self.gates * size)
        self.transitions = nn.ModuleList()
        self.weight = nn.Parameter(torch.empty(self.gates * size, size))
        nn.init.uniform_(self.weight, -(size**-0.5), size**-0.5)

    @property
    def state_size(self) -> int:
        return self.size

    def drawn(self) -> Self:
        """The cell for one pass over a batch, with a new mask of recurrent dropout in training.

        The share recurrent_dropout of the state's units is dropped in the input of the gates, the same units in all
        steps and sentences; the others are divided by 1 - recurrent_dropout. The state that is carried over is not
        dropped.
        # Gal and Ghahramani (2016), eq. 7, with one mask for the batch
        The mask is applied to the columns of the recurrent weight, so every loop supports it. Each transition has its
        own mask.
        """
        if not self.training or not self.recurrent_dropout:
            return self
        drawn = torch.rand(self.size, device=self.weight.device) >= self.recurrent_dropout
        cell = copy(self)
        cell._modules = self._modules | {"transitions": nn.ModuleList(each.drawn() for each in self._further())}
        cell._parameters = {name: weight for name, weight in self._parameters.items() if name != "weight"}
        cell.__dict__["weight"] = self.weight * (drawn.to(self.weight.dtype) / (1 - self.recurrent_dropout))
        return cell

    def output(self, state: Tensor) -> Tensor:
        """The output h of a state: state (..., state_size) -> (..., H)."""
        return state[..., : self.size]

    def input_linear(self, width: int) -> nn.Module:
        """A linear layer for a further input (..., width) -> (..., gates * H), to be added to the output of
        `project`.
        """
        return nn.Linear(width, self.gates * self.size, bias=False)

    def recurrent_part(self, part: int, product: Tensor) -> Tensor:
        """The recurrent product of the gates of `part`, normalized in a subclass; here unchanged."""
        return product

    def step(self, projected: Tensor, state: Tensor) -> Tensor:
        """As `forward`, followed by all transitions.  # Miceli Barone et al. (2017)"""
        state = self(projected, state)
        for cell in self._further():
            state = cell.step(cell.project(state), state)
        return state

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        """projected (N, gates * H): the gates' products with all inputs; state (N, state_size) -> the next state."""
        raise NotImplementedError

    def _further(self) -> "list[Cell]":
        return cast("list[Cell]", list(self.transitions))


class GRUCell(Cell):
    """The reset gate acts before the recurrent product, as published; gates in the order z, r, candidate.

    z, r = sigmoid(x + U s);  s~ = tanh(x + U (r * s));  s' = (1 - z) * s + z * s~   # Bahdanau et al. (2015), A.1.1
    """

    gates = 3

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        gate_x, candidate_x = projected.split((2 * self.size, self.size), -1)
        gate_weight, candidate_weight = self.weight.split((2 * self.size, self.size))
        gate_u = self.recurrent_part(0, functional.linear(state, gate_weight))
        update, reset = torch.sigmoid(gate_x + gate_u).chunk(2, -1)
        candidate_u = self.recurrent_part(1, functional.linear(reset * state, candidate_weight))
        candidate = torch.tanh(candidate_x + candidate_u)
        return torch.lerp(state, candidate.to(state.dtype), update.to(state.dtype))


class GRUResetAfterCell(Cell):
    """The reset gate acts after the recurrent product, as cuDNN and torch.nn.GRU compute it; gates z, r, candidate.

    z, r = sigmoid(x + U s);  s~ = tanh(x + r * (U s + b));  s' = (1 - z) * s + z * s~
    """

    gates = 3

    def __init__(self, input_size: int, size: int):
        super().__init__(input_size, size)
        self.candidate_bias = nn.Parameter(torch.zeros(size))

    def recurrent_part(self, part: int, product: Tensor) -> Tensor:
        return product + self.candidate_bias if part == 1 else product

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        gate_x, candidate_x = projected.split((2 * self.size, self.size), -1)
        gate_u, candidate_u = functional.linear(state, self.weight).split((2 * self.size, self.size), -1)
        update, reset = torch.sigmoid(gate_x + self.recurrent_part(0, gate_u)).chunk(2, -1)
        candidate = torch.tanh(candidate_x + reset * self.recurrent_part(1, candidate_u))
        return torch.lerp(state, candidate.to(state.dtype), update.to(state.dtype))


class LSTMCell(Cell):
    """Gates in the order input, forget, output, candidate; the state is [h; c].  # Hochreiter and Schmidhuber (1997)

    The bias of the forget gate starts at 1.
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
        gates = projected + self.recurrent_part(0, functional.linear(hidden, self.weight))
        sigmoids, candidate = gates.split((3 * self.size, self.size), -1)
        input_gate, forget_gate, output_gate = torch.sigmoid(sigmoids).to(state.dtype).chunk(3, -1)
        cell = forget_gate * cell + input_gate * torch.tanh(candidate).to(state.dtype)
        return torch.cat((output_gate * torch.tanh(self.recurrent_part(1, cell)), cell), -1)


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
