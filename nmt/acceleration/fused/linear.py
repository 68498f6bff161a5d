"""A linear layer that is fast on a GPU for any inner width.

cuBLAS's kernels for Hopper need rows of a multiple of 16 bytes, eight numbers in half precision. A width of 620 or 500,
as published, falls back to kernels that take three times as long. Here the copies in half precision, which autocast
makes anyway, are padded with zeros to the next multiple of eight.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

WIDTH = 8


def pays(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether products of x in `dtype` are faster with rows padded to a multiple of eight."""
    return x.is_cuda and dtype.itemsize == 2


def padded(x: Tensor, dtype: torch.dtype, *, one: bool = False) -> Tensor:
    """x (N, X) -> a copy in `dtype`, (N, X rounded up to a multiple of eight), padded with zeros; if `one` and there is
    padding, its first number is 1: its column in the weight's gradient is the gradient of a bias."""
    width = -(-x.shape[1] // WIDTH) * WIDTH
    copy = torch.empty(x.shape[0], width, dtype=dtype, device=x.device)
    copy[:, : x.shape[1]] = x
    copy[:, x.shape[1] :] = 0
    if one and width > x.shape[1]:
        copy[:, x.shape[1]] = 1
    return copy


class PaddedLinear(torch.autograd.Function):
    """inputs (N, X), weight (Y, X), bias (Y,) or None -> (N, Y) in `dtype`: inputs times the transpose of weight, plus
    bias. X is not a multiple of eight."""

    @staticmethod
    def forward(ctx, inputs, weight, bias, dtype):
        operands = padded(inputs, dtype, one=True), padded(weight, dtype)
        ctx.save_for_backward(*operands)
        ctx.width, ctx.types, ctx.biased = weight.shape[1], (inputs.dtype, weight.dtype), bias is not None
        if bias is None:
            return operands[0] @ operands[1].t()
        return torch.addmm(bias.to(dtype), operands[0], operands[1].t())

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        inputs, weight = ctx.saved_tensors
        d_inputs = (gradient @ weight)[:, : ctx.width].to(ctx.types[0])
        d_weight = (gradient.t() @ inputs).to(ctx.types[1])  # and of the bias, in the column after it
        d_bias = d_weight[:, ctx.width] if ctx.biased else None
        return d_inputs, d_weight[:, : ctx.width], d_bias, None


def linear(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """The result of layer(inputs)."""
    kind = inputs.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype
    if layer.in_features % WIDTH == 0 or not pays(inputs, dtype):
        return layer(inputs)
    with torch.autocast(kind, enabled=False):
        rows = PaddedLinear.apply(inputs.flatten(0, -2), layer.weight, layer.bias, dtype)
    return rows.view(*inputs.shape[:-1], layer.out_features)
