"""Products whose weights were cast and laid out for this machine beforehand, once for all steps of all sentences."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.model.recurrence.products import wide_dtype


class Product(nn.Module):
    """(..., X) -> (..., Y): inputs times the transpose of weight (Y, X), plus bias (Y,), in `dtype`; at least float32.

    On a CPU the weights lie as oneDNN wants them, which spares each call the rearranging: with few rows that takes
    longer than the product. It also makes a row's result independent of how many rows there are.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        self.weight = weight.detach().to(dtype)
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.packed = weight.device.type == "cpu" and _packs(dtype)
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.narrow(inputs).to(wide_dtype(self.dtype))

    def narrow(self, inputs: Tensor) -> Tensor:
        """The same in `dtype`, as it was multiplied."""
        inputs = inputs.to(self.dtype)
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")
        return functional.linear(inputs, self.weight, self.bias)


class Table(nn.Module):
    """ids (...) -> (..., Y): what the product makes of each word's embedding, of words (V, X)."""

    def __init__(self, product: Product, words: Tensor):
        super().__init__()
        self.rows = product.narrow(words)
        self.dtype = wide_dtype(product.dtype)

    def forward(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.rows).to(self.dtype)


class Columns(nn.Module):
    """(..., X) -> (..., last - first): one's part of what was multiplied for several."""

    def __init__(self, first: int, last: int):
        super().__init__()
        self.columns = slice(first, last)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[..., self.columns]


class Joined(NamedTuple):
    """weight (Y, X), bias (Y,)."""

    weight: Tensor
    bias: Tensor


def linear(module: nn.Module, name: str) -> nn.Linear:
    """The product that a module has under that name."""
    product = module.get_submodule(name)
    assert isinstance(product, nn.Linear), product
    return product


def join(users: list[tuple[nn.Module, str]]) -> Joined:
    """One product for all `users`, nn.Linear by module and name, which become columns of its result."""
    weights, biases, first = [], [], 0
    for module, name in users:
        product = linear(module, name)
        last = first + product.out_features
        weights.append(product.weight)
        biases.append(product.weight.new_zeros(product.out_features) if product.bias is None else product.bias)
        module.add_module(name, Columns(first, last))
        first = last
    return Joined(torch.cat(weights), torch.cat(biases))


@cache
def _packs(dtype: torch.dtype) -> bool:
    """Whether torch's compiler has its packed products here: they are not part of its public face."""
    try:
        weight = torch.ops.mkldnn._reorder_linear_weight(torch.eye(2, dtype=dtype))
        ones = torch.ops.mkldnn._linear_pointwise(torch.ones(3, 2, dtype=dtype), weight, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return bool((ones == 1).all())
