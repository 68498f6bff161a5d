"""Cells with layer normalization: the products of inputs and state in the gates are normalized separately."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.layers.cells import Cell, CellKind, GRUCell, GRUResetAfterCell, LSTMCell, NoInput


class BlockNorm(nn.Module):
    """Layer normalization of each block of a tensor (..., sum of `sizes`) of concatenated blocks, with a gain `weight`
    and optionally a bias for each number.  # Ba et al. (2016), eq. 4"""

    def __init__(self, sizes: tuple[int, ...], *, bias: bool = True):
        super().__init__()
        self.sizes = sizes
        self.weight = nn.Parameter(torch.ones(sum(sizes)))
        self.bias = nn.Parameter(torch.zeros(sum(sizes))) if bias else None

    def block(self, index: int, x: Tensor) -> Tensor:
        """The normalization of one block: x (..., size), the block at `index`."""
        weight, bias = (None if all_ is None else all_.split(self.sizes)[index] for all_ in (self.weight, self.bias))
        return functional.layer_norm(x, x.shape[-1:], weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.block(index, part) for index, part in enumerate(x.split(self.sizes, -1))], -1)


class NormalizedLinear(nn.Module):
    """A product (..., X) -> (..., sum of `sizes`), normalized block by block; the bias is added after normalization."""

    def __init__(self, input_size: int, sizes: tuple[int, ...], *, bias: bool):
        super().__init__()
        self.linear = nn.Linear(input_size, sum(sizes), bias=False)
        self.norm = BlockNorm(sizes, bias=bias)

    @property
    def bias(self) -> Tensor | None:
        return self.norm.bias

    def forward(self, inputs: Tensor) -> Tensor:
        return self.norm(self.linear(inputs))


class NormalizedCell(Cell):
    """A cell whose input product and recurrent product are normalized, each with its own gain and bias.

    blocks: the numbers of gates that are normalized together. The product of a further input has a gain only.
    """

    blocks: tuple[int, ...]

    def __init__(self, input_size: int, size: int):
        super().__init__(input_size, size)
        if not isinstance(self.project, NoInput):
            self.project = NormalizedLinear(input_size, self._sizes, bias=True)
        self.norm = BlockNorm(self._recurrent_sizes)

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(gates * self.size for gates in self.blocks)

    @property
    def _recurrent_sizes(self) -> tuple[int, ...]:
        return self._sizes

    def input_linear(self, width: int) -> nn.Module:
        return NormalizedLinear(width, self._sizes, bias=False)

    def recurrent_part(self, part: int, product: Tensor) -> Tensor:
        return self.norm.block(part, product)


class NormalizedGRUCell(NormalizedCell, GRUCell):
    """z, r = sigmoid(LN(x) + LN(U s));  s~ = tanh(LN(x) + LN(U (r * s)));  s' = (1 - z) * s + z * s~

    The two gates are normalized together.  # Ba et al. (2016), supplementary material, with the reset gate of GRUCell
    """

    blocks = (2, 1)


class NormalizedGRUResetAfterCell(NormalizedCell, GRUResetAfterCell):
    """z, r = sigmoid(LN(x) + LN(U s));  s~ = tanh(LN(x) + r * LN(U s));  s' = (1 - z) * s + z * s~

    The two gates are normalized together.  # Ba et al. (2016), supplementary material
    """

    blocks = (2, 1)

    def __init__(self, input_size: int, size: int):
        super().__init__(input_size, size)
        del self.candidate_bias  # normalization has its own


class NormalizedLSTMCell(NormalizedCell, LSTMCell):
    """Gates from LN(x) + LN(U h), all four together; h' = o * tanh(LN(c')).

    # Ba et al. (2016), supplementary material
    """

    blocks = (4,)

    def __init__(self, input_size: int, size: int):
        super().__init__(input_size, size)
        self.open_forget_gate()

    @property
    def _recurrent_sizes(self) -> tuple[int, ...]:
        return (*self._sizes, self.size)


def build_normalized_cell(kind: CellKind, input_size: int, size: int) -> Cell:
    """Raises ValueError for a cell that has no normalization."""
    match kind:
        case CellKind.gru:
            return NormalizedGRUCell(input_size, size)
        case CellKind.gru_reset_after:
            return NormalizedGRUResetAfterCell(input_size, size)
        case CellKind.lstm:
            return NormalizedLSTMCell(input_size, size)
        case _:
            known = ", ".join(each.value for each in (CellKind.gru, CellKind.gru_reset_after, CellKind.lstm))
            raise ValueError(
                f"layer_norm=true needs a cell that can be normalized, {known}, and not cell={kind.value}: choose "
                "one of them for that side of the model, or set layer_norm=false"
            )
