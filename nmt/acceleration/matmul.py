"""Products in one type, everything around them in another: bf16 in, fp32 kept, where autocast asks for it."""

import math

import torch
from torch import Tensor

from nmt.acceleration.kernels import Kernel, is_enabled

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # gradient * y * (1 - y), in one pass
tanh_backward = torch.ops.aten.tanh_backward.grad_input  # gradient * (1 - y * y), in one pass


def matmul_dtype(projected: Tensor, state: Tensor) -> torch.dtype:
    """The type products run in: autocast's where it is on (but never for float64 states), else that of `projected`."""
    kind = projected.device.type
    if torch.is_autocast_enabled(kind) and state.dtype is not torch.float64:
        return torch.get_autocast_dtype(kind)
    return projected.dtype


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type of states, energies, softmax and sums: at least float32."""
    return torch.promote_types(dtype, torch.float32)


def addmm_(out: Tensor, left: Tensor, right: Tensor) -> None:
    """out += left @ right; the operands share a type, `out` may be wider. With a leading dimension all have it."""
    if out.dtype != left.dtype and is_enabled(Kernel.fp32_accumulation, out, left.dtype):
        product = torch.baddbmm if left.dim() == 3 else torch.addmm
        product(out, left, right, out_dtype=out.dtype, out=out)
    elif out.dtype != left.dtype:
        out.add_(torch.bmm(left, right) if left.dim() == 3 else torch.mm(left, right))
    elif left.dim() == 3:
        out.baddbmm_(left, right)
    else:
        out.addmm_(left, right)


def weight_gradient(gradients: Tensor, inputs: Tensor) -> Tensor:
    """Sum over all rows of outer products, as one product: (..., X), (..., Y) -> (X, Y)."""
    return gradients.flatten(0, -2).t() @ inputs.flatten(0, -2)


def fast_tanh_(x: Tensor, dtype: torch.dtype) -> Tensor:
    """tanh in place, among products in `dtype`.

    On CPU torch's tanh takes several times as long as its sigmoid, so where products are rounded to half precision
    anyway it is 2 sigmoid(2x) - 1, whose error is absolute: for a small tanh the full precision would be lost.
    """
    if x.device.type == "cpu" and dtype != x.dtype:
        return x.mul_(2).sigmoid_().mul_(2).sub_(1)
    return x.tanh_()


def bounded_exp_(x: Tensor) -> Tensor:
    """e^x in place, within the type's normal numbers."""
    limit = math.floor(-math.log(torch.finfo(x.dtype).tiny))
    return x.clamp_(-limit, limit).exp_()
