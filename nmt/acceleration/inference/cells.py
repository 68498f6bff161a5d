"""The steps of ``nmt.layers.cells`` without gradients: prepared products, and gates that are overwritten."""

from typing import Self, cast

import torch
from torch import Tensor, nn

from nmt.acceleration.inference.linear import FusedLinear, PackedLinear
from nmt.acceleration.matmul import fast_tanh_
from nmt.layers.cells import Cell, GRUCell, GRUResetAfterCell, LSTMCell
from nmt.layers.normalized_cells import (
    NormalizedCell,
    NormalizedGRUCell,
    NormalizedGRUResetAfterCell,
    NormalizedLSTMCell,
)


class InferenceCell(nn.Module):
    """The step of a cell, normalized if the cell is.

    As for Cell, projected (N, gates * H), state (N, state_size) -> the next state; but `projected` is overwritten.
    """

    def __init__(self, cell: Cell, dtype: torch.dtype):
        super().__init__()
        self.size = cell.size
        self.dtype = dtype
        self.state_size = cell.state_size
        self.project = cell.project
        self.transitions = cell.transitions
        self.weight = cell.weight.detach()  # its type is the type of states
        self.recurrent = PackedLinear(*self.recurrent_product(cell), dtype)
        self.norm = cell.norm if isinstance(cell, NormalizedCell) else None

    @property
    def is_plain(self) -> bool:
        """Whether a step is one transition without normalization."""
        return self.norm is None and not self.transitions

    @staticmethod
    def recurrent_product(cell: Cell) -> FusedLinear:
        """The first product of a step, with the state's output (N, H)."""
        return FusedLinear(cell.weight, None)

    def drawn(self) -> Self:
        """Returns the cell itself: there is no dropout."""
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

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        return self.update(projected, state, self.recurrent(self.output(state)))

    def update(self, projected: Tensor, state: Tensor, recurrent: Tensor) -> Tensor:
        """The remaining computation of the first transition. recurrent: the result of `recurrent_product`."""
        raise NotImplementedError


class InferenceGRU(InferenceCell):
    """The steps of GRUCell and NormalizedGRUCell."""

    def __init__(self, cell: GRUCell, dtype: torch.dtype):
        super().__init__(cell, dtype)
        self.candidate = PackedLinear(cell.weight[2 * cell.size :], None, dtype)

    @staticmethod
    def recurrent_product(cell: Cell) -> FusedLinear:
        return FusedLinear(cell.weight[: 2 * cell.size], None)

    def output(self, state: Tensor) -> Tensor:
        return state

    def update(self, projected: Tensor, state: Tensor, recurrent: Tensor) -> Tensor:
        sigmoids, candidate = projected.split_with_sizes((2 * self.size, self.size), -1)
        update, reset = sigmoids.add_(self.normalize(0, recurrent)).sigmoid_().chunk(2, -1)
        candidate.add_(self.normalize(1, self.candidate(reset * state)))
        return torch.lerp(state, fast_tanh_(candidate, self.dtype), update)


class InferenceGRUResetAfter(InferenceCell):
    """The steps of GRUResetAfterCell and NormalizedGRUResetAfterCell."""

    @staticmethod
    def recurrent_product(cell: Cell) -> FusedLinear:
        assert isinstance(cell, GRUResetAfterCell), cell
        if isinstance(cell, NormalizedCell):
            return FusedLinear(cell.weight, None)
        return FusedLinear(cell.weight, torch.cat((cell.candidate_bias.new_zeros(2 * cell.size), cell.candidate_bias)))

    def output(self, state: Tensor) -> Tensor:
        return state

    def update(self, projected: Tensor, state: Tensor, recurrent: Tensor) -> Tensor:
        sigmoids, candidate = projected.split_with_sizes((2 * self.size, self.size), -1)
        gates, recurrent = recurrent.split_with_sizes((2 * self.size, self.size), -1)
        update, reset = sigmoids.add_(self.normalize(0, gates)).sigmoid_().chunk(2, -1)
        candidate.addcmul_(reset, self.normalize(1, recurrent))
        return torch.lerp(state, fast_tanh_(candidate, self.dtype), update)


class InferenceLSTM(InferenceCell):
    """The steps of LSTMCell and NormalizedLSTMCell."""

    def update(self, projected: Tensor, state: Tensor, recurrent: Tensor) -> Tensor:
        cell = state[..., self.size :]
        gates = projected.add_(self.normalize(0, recurrent))
        sigmoids, candidate = gates.split_with_sizes((3 * self.size, self.size), -1)
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
