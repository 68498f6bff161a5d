"""Dropout with cheap random numbers."""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_LEVELS = 2**16


class DropoutMask:
    """A random mask: `mask` (bool), True where a number is kept; `scale`: the factor that preserves the expectation.

    On CPU torch draws one random number for each element, which took 5 % of an update. Here one draw of 64 bits serves
    four elements, with the probability rounded to a multiple of 1 / 65536.
    """

    def __init__(self, shape: torch.Size, probability: float, device: torch.device):
        count = shape.numel()
        dropped = min(round(probability * _LEVELS), _LEVELS - 1)
        bits = torch.empty(-(-count // 4), dtype=torch.int64, device=device).random_(-(2**63), None)
        self.mask = (bits.view(torch.int16)[:count] >= dropped - _LEVELS // 2).view(shape)
        self.scale = _LEVELS / (_LEVELS - dropped)


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, probability: float):
        drawn = DropoutMask(x.shape, probability, x.device)
        ctx.scale = drawn.scale
        ctx.save_for_backward(drawn.mask)
        return torch.mul(x, drawn.mask).mul_(drawn.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (mask,) = ctx.saved_tensors
        return torch.mul(gradient, mask).mul_(ctx.scale), None


class Dropout(nn.Module):
    """In training a number is 0 with `probability`, else divided by 1 - probability.  # Srivastava et al. (2014)"""

    def __init__(self, probability: float):
        super().__init__()
        assert 0 <= probability < 1, probability
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.probability:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.probability)
        return _Dropped.apply(x, self.probability)
