"""The steps of ``nmt.layers.cells`` without gradients: prepared products, and gates that are overwritten."""

from typing import Self, cast

import torch
from torch import Tensor, nn

from nmt.acceleration.inference.linear import PackedLinear
from nmt.acceleration.matmul import fast_tanh_
from nmt.layers.cells import Cell, GRUCell, GRUResetAfterCell, LSTMCell
from nmt.layers.normalized_cells import (
    NormalizedCell,
    NormalizedGRUCell,
    NormalizedGRUResetAfterCell,
    NormalizedLSTMCell,
)


class InferenceCell(nn.Module):
    """A cell's step, normalized where the cell is; `parts` are the numbers of gates whose recurrent products share an
    operand.

    As with Cell, projected (N, gates * H), state (N, state_size) -> the next state; but `projected` is overwritten.
    """

    parts: tuple[int, ...]

    def __init__(self, cell: Cell, dtype: torch.dtype):
        super().__init__()
        self.size = cell.size
        self.dtype = dtype
        self.state_size = cell.state_size
        self.project = cell.project
        self.transitions = cell.transitions
        self.weight = cell.weight.detach()  # of which type a state is
        weights = cell.weight.split([gates * cell.size for gates in self.parts])
        self.recurrent = nn.ModuleList(PackedLinear(weight, None, dtype) for weight in weights)
        self.norm = cell.norm if isinstance(cell, NormalizedCell) else None

    def drawn(self) -> Self:
        """The cell itself: nothing is dropped here."""
        return self

    def output(self, state: Tensor) -> Tensor:
        return state[..., : self.size]

    def normalize(self, part: int, product: Tensor) -> Tensor:
        return product if self.norm is None else self.norm.block(part, product)

    def step(self, projected: Tensor, state: Tensor) -> Tensor:
        state = self(projected, state)
        for cell in cast("list[InferenceCell]", list(self.transitions)):
            state = cell.step(cell.project(state), state)
        return state


class InferenceGRU(InferenceCell):
    parts = (2, 1)

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        sigmoids, candidate = projected.split((2 * self.size, self.size), -1)
        update, reset = sigmoids.add_(self.normalize(0, self.recurrent[0](state))).sigmoid_().chunk(2, -1)
        candidate.add_(self.normalize(1, self.recurrent[1](reset * state)))
        return torch.lerp(state, fast_tanh_(candidate, self.dtype), update)


class InferenceGRUResetAfter(InferenceCell):
    parts = (3,)

    def __init__(self, cell: GRUResetAfterCell, dtype: torch.dtype):
        super().__init__(cell, dtype)
        if isinstance(cell, NormalizedCell):
            return
        bias = torch.cat((cell.candidate_bias.new_zeros(2 * cell.size), cell.candidate_bias.detach()))
        self.recurrent[0] = PackedLinear(cell.weight, bias, dtype)

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        sigmoids, candidate = projected.split((2 * self.size, self.size), -1)
        gates, candidate_u = self.recurrent[0](state).split((2 * self.size, self.size), -1)
        update, reset = sigmoids.add_(self.normalize(0, gates)).sigmoid_().chunk(2, -1)
        candidate.addcmul_(reset, self.normalize(1, candidate_u))
        return torch.lerp(state, fast_tanh_(candidate, self.dtype), update)


class InferenceLSTM(InferenceCell):
    parts = (4,)

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        hidden, cell = state.split(self.size, -1)
        recurrent = self.normalize(0, self.recurrent[0](hidden))
        sigmoids, candidate = projected.add_(recurrent).split((3 * self.size, self.size), -1)
        input_gate, forget_gate, output_gate = sigmoids.sigmoid_().chunk(3, -1)
        cell = (forget_gate * cell).addcmul_(input_gate, fast_tanh_(candidate, self.dtype))
        read = cell.clone() if self.norm is None else self.normalize(1, cell)
        return torch.cat((output_gate * fast_tanh_(read, self.dtype), cell), -1)


INFERENCE_CELLS: dict[type[Cell], type[InferenceCell]] = {
    GRUCell: InferenceGRU,
    GRUResetAfterCell: InferenceGRUResetAfter,
    LSTMCell: InferenceLSTM,
    NormalizedGRUCell: InferenceGRU,
    NormalizedGRUResetAfterCell: InferenceGRUResetAfter,
    NormalizedLSTMCell: InferenceLSTM,
}
