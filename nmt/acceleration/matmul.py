"""Products in one type, everything else in another: with autocast, operands in bf16, results in fp32."""

import math

import torch
from torch import Tensor

from nmt.acceleration.kernels import Kernel, is_enabled

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # gradient * y * (1 - y), in one pass
tanh_backward = torch.ops.aten.tanh_backward.grad_input  # gradient * (1 - y * y), in one pass


def matmul_dtype(projected: Tensor, state: Tensor) -> torch.dtype:
    """The type of products: autocast's if it is on (but never for float64 states), else that of `projected`."""
    kind = projected.device.type
    if torch.is_autocast_enabled(kind) and state.dtype is not torch.float64:
        return torch.get_autocast_dtype(kind)
    return projected.dtype


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type of states, energies, softmax and sums: at least float32."""
    return torch.promote_types(dtype, torch.float32)


def addmm_(out: Tensor, left: Tensor, right: Tensor) -> None:
    """out += left @ right; the operands have one type, `out` may be wider. A leading dimension must be in all three."""
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
    """The sum over all rows of outer products, as one product: (..., X), (..., Y) -> (X, Y)."""
    return gradients.flatten(0, -2).t() @ inputs.flatten(0, -2)


def fast_tanh_(x: Tensor, dtype: torch.dtype) -> Tensor:
    """tanh in place, for products in `dtype`.

    On a CPU torch's tanh takes several times as long as its sigmoid, so with products in half precision it is computed
    as 2 sigmoid(2x) - 1, which has an absolute error: the relative precision of a small tanh would be lost in float32.
    """
    if x.device.type == "cpu" and dtype != x.dtype:
        return x.mul_(2).sigmoid_().mul_(2).sub_(1)
    return x.tanh_()


def bounded_exp_(x: Tensor) -> Tensor:
    """e^x in place, clamped to the normal numbers of the type."""
    limit = math.floor(-math.log(torch.finfo(x.dtype).tiny))
    return x.clamp_(-limit, limit).exp_()
