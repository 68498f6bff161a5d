"""The steps of ``nmt.model.cells`` without gradients: prepared products, and gates that are overwritten."""

import torch
from torch import Tensor, nn

from nmt.model.cells import Cell, GRUAfterCell, GRUCell, LSTMCell
from nmt.model.prepared.products import Product
from nmt.model.recurrence.products import squash_


class PreparedCell(nn.Module):
    """A cell's step; `parts` are the numbers of gates whose recurrent products share an operand.

    As with Cell, projected (N, gates * H), state (N, state_size) -> the next state; but `projected` is overwritten.
    """

    parts: tuple[int, ...]

    def __init__(self, cell: Cell, dtype: torch.dtype):
        super().__init__()
        self.size = cell.size
        self.dtype = dtype
        self.state_size = cell.state_size
        self.project = cell.project
        self.weight = cell.weight.detach()  # of which type a state is
        weights = cell.weight.split([gates * cell.size for gates in self.parts])
        self.recurrent = nn.ModuleList(Product(weight, None, dtype) for weight in weights)

    def output(self, state: Tensor) -> Tensor:
        return state[..., : self.size]


class PreparedGRU(PreparedCell):
    parts = (2, 1)

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        sigmoids, candidate = projected.split((2 * self.size, self.size), -1)
        update, reset = sigmoids.add_(self.recurrent[0](state)).sigmoid_().chunk(2, -1)
        candidate.add_(self.recurrent[1](reset * state))
        return torch.lerp(state, squash_(candidate, self.dtype), update)


class PreparedGRUAfter(PreparedCell):
    parts = (3,)

    def __init__(self, cell: GRUAfterCell, dtype: torch.dtype):
        super().__init__(cell, dtype)
        bias = torch.cat((cell.candidate_bias.new_zeros(2 * cell.size), cell.candidate_bias.detach()))
        self.recurrent[0] = Product(cell.weight, bias, dtype)

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        sigmoids, candidate = projected.split((2 * self.size, self.size), -1)
        recurrent = self.recurrent[0](state)
        update, reset = sigmoids.add_(recurrent[..., : 2 * self.size]).sigmoid_().chunk(2, -1)
        candidate.addcmul_(reset, recurrent[..., 2 * self.size :])
        return torch.lerp(state, squash_(candidate, self.dtype), update)


class PreparedLSTM(PreparedCell):
    parts = (4,)

    def forward(self, projected: Tensor, state: Tensor) -> Tensor:
        hidden, memory = state.split(self.size, -1)
        sigmoids, candidate = projected.add_(self.recurrent[0](hidden)).split((3 * self.size, self.size), -1)
        take, forget, show = sigmoids.sigmoid_().chunk(3, -1)
        memory = (forget * memory).addcmul_(take, squash_(candidate, self.dtype))
        return torch.cat((show * squash_(memory.clone(), self.dtype), memory), -1)


PREPARED: dict[type[Cell], type[PreparedCell]] = {
    GRUCell: PreparedGRU,
    GRUAfterCell: PreparedGRUAfter,
    LSTMCell: PreparedLSTM,
}
