"""Products with weights that are cast and packed for this machine, once for all steps of all sentences."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.acceleration.matmul import accumulation_dtype


class PackedLinear(nn.Module):
    """(..., X) -> (..., Y): inputs times the transpose of weight (Y, X), plus bias (Y,), in `dtype`; at least float32.

    On a CPU the weights have oneDNN's layout, so calls need not reorder them, which with few rows takes longer than the
    product. It also makes a row's result independent of the number of rows.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype):
        super().__init__()
        self.dtype, self.accumulated = dtype, accumulation_dtype(dtype)
        self.weight = weight.detach().to(dtype)
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.packed = weight.device.type == "cpu" and _can_pack(dtype)
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        product = self.forward_low_precision(inputs)
        return product if self.dtype is self.accumulated else product.to(self.accumulated)

    def forward_low_precision(self, inputs: Tensor) -> Tensor:
        """`forward` in `dtype`, without a cast of the result."""
        if inputs.dtype is not self.dtype:  # a cast without effect takes time too
            inputs = inputs.to(self.dtype)
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise.default(inputs, self.weight, self.bias, "none", [], "")
        return functional.linear(inputs, self.weight, self.bias)


class ProjectedEmbedding(nn.Module):
    """ids (...) -> (..., Y): the product with each word's embedding, for embeddings (V, X)."""

    def __init__(self, packed: PackedLinear, embeddings: Tensor):
        super().__init__()
        self.rows = packed.forward_low_precision(embeddings)
        self.dtype = accumulation_dtype(packed.dtype)

    def forward(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.rows).to(self.dtype)


class OutputSlice(nn.Module):
    """(..., X) -> (..., last - first): the part of one user in a product for several, plus `bias` if there is one."""

    def __init__(self, first: int, last: int, bias: Tensor | None):
        super().__init__()
        self.columns = slice(first, last)
        self.bias = bias

    def forward(self, inputs: Tensor) -> Tensor:
        part = inputs[..., self.columns]
        return part if self.bias is None else part + self.bias


class FusedLinear(NamedTuple):
    """weight (Y, X), bias (Y,)."""

    weight: Tensor
    bias: Tensor | None


def get_linear(module: nn.Module, name: str) -> nn.Linear:
    """The product of a module with that name."""
    packed = module.get_submodule(name)
    assert isinstance(packed, nn.Linear), packed
    return packed


def fuse_linears(users: list[tuple[nn.Module, str]], *, keep_biases: bool = False) -> FusedLinear:
    """One product for all `users`, nn.Linear by module and name, whose results are side by side.

    keep_biases: the users add their biases, not the product, because its results are averaged before they use them.
    """
    products, first = [], 0
    for module, name in users:
        packed = get_linear(module, name)
        last = first + packed.out_features
        products.append(FusedLinear(packed.weight, None if keep_biases else packed.bias))
        module.add_module(name, OutputSlice(first, last, packed.bias if keep_biases else None))
        first = last
    return join_linears(products)


def join_linears(products: list[FusedLinear]) -> FusedLinear:
    """One product whose result is the results of `products` side by side."""
    biases = [weight.new_zeros(len(weight)) if bias is None else bias for weight, bias in products]
    return FusedLinear(torch.cat([weight for weight, _ in products]), torch.cat(biases))


@cache
def _can_pack(dtype: torch.dtype) -> bool:
    """Whether torch has its packed products here: they are not part of its public interface."""
    try:
        weight = torch.ops.mkldnn._reorder_linear_weight(torch.eye(2, dtype=dtype))
        ones = torch.ops.mkldnn._linear_pointwise(torch.ones(3, 2, dtype=dtype), weight, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return bool((ones == 1).all())
