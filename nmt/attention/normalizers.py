"""Normalizers: from energies to weights, which are a distribution over the real positions.

Softmax gives every real position a weight above zero. Sparsemax and 1.5-entmax give many positions exactly zero. Both
are computed exactly, by sorting, and have closed-form gradients, which depend only on the weights.
"""

from enum import Enum

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Normalizer(Enum):
    """The values of ``model.attention.normalizer``; entmax is 1.5-entmax."""

    softmax = "softmax"
    sparsemax = "sparsemax"
    entmax = "entmax"


def normalize(normalizer: Normalizer, energies: Tensor, mask: Tensor) -> Tensor:
    """energies (B, Q, S), mask (B, S) or (B, Q, S) -> weights (B, Q, S), at least float32: rows sum to one, and
    positions where the mask is False get exactly 0.

    Every sentence has at least its end-of-sentence token, so no row is masked completely.
    """
    energies = energies.to(torch.promote_types(energies.dtype, torch.float32))
    energies = energies.masked_fill(~(mask if mask.dim() == 3 else mask.unsqueeze(1)), float("-inf"))
    match normalizer:
        case Normalizer.softmax:
            return energies.softmax(-1)
        case Normalizer.sparsemax:
            return Sparsemax.apply(energies)
        case Normalizer.entmax:
            return Entmax.apply(energies)
        case _:
            raise ValueError(
                f"model.attention.normalizer={normalizer}: legal are {', '.join(n.value for n in Normalizer)}"
            )


def masked_softmax(energies: Tensor, mask: Tensor) -> Tensor:
    """`normalize` by softmax."""
    return normalize(Normalizer.softmax, energies, mask)


# After scaling, both thresholds are at most 1 below a row's largest energy, so an energy that is lower by more than
# this
# has no weight. Larger distances, also the infinite ones of padding, are clamped, so no infinities enter the sums.
_OUT_OF_REACH = 2.0


def sparsemax(energies: Tensor) -> Tensor:
    """energies (..., S), -inf where nothing may be -> the nearest distribution: max(0, energy - tau) with the tau that
    makes rows sum to one.  # Martins and Astudillo (2016), algorithm 1
    """
    below = (energies - energies.amax(-1, keepdim=True)).clamp_min(-_OUT_OF_REACH)
    ordered = below.sort(-1, descending=True).values
    count = _counts(below)
    sums = ordered.cumsum(-1) - 1
    support = (count * ordered > sums).sum(-1, keepdim=True)
    tau = sums.gather(-1, support - 1) / support
    return (below - tau).clamp_min_(0)


def sparsemax_backward(weights: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the energies: of the weights above zero, less its mean over them.

    # Martins and Astudillo (2016), eq. 14
    """
    support = (weights > 0).to(gradient.dtype)
    mean = (gradient * support).sum(-1, keepdim=True) / support.sum(-1, keepdim=True)
    return (gradient - mean) * support


def entmax(energies: Tensor) -> Tensor:
    """energies (..., S), -inf where nothing may be -> 1.5-entmax: max(0, energy / 2 - tau)^2 with the tau that makes
    rows sum to one.  # Peters et al. (2019), algorithm 2
    """
    below = ((energies - energies.amax(-1, keepdim=True)) / 2).clamp_min(-_OUT_OF_REACH)
    ordered = below.sort(-1, descending=True).values
    count = _counts(below)
    mean = ordered.cumsum(-1) / count
    spread = ordered.square().cumsum(-1) - count * mean.square()
    taus = mean - ((1 - spread) / count).clamp_min(0).sqrt()
    support = (taus <= ordered).sum(-1, keepdim=True)
    return (below - taus.gather(-1, support - 1)).clamp_min_(0).square()


def entmax_backward(weights: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the energies, whose Jacobian is diag(s) - s s' / sum(s) with s the roots of the weights.

    # Peters et al. (2019), proposition 2
    """
    root = weights.sqrt()
    scaled = gradient * root
    return scaled - root * (scaled.sum(-1, keepdim=True) / root.sum(-1, keepdim=True))


def _counts(like: Tensor) -> Tensor:
    return torch.arange(1, like.shape[-1] + 1, dtype=like.dtype, device=like.device)


class Sparsemax(torch.autograd.Function):
    """`sparsemax` with its gradient."""

    @staticmethod
    def forward(ctx, energies):
        weights = sparsemax(energies)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (weights,) = ctx.saved_tensors
        return sparsemax_backward(weights, gradient)


class Entmax(torch.autograd.Function):
    """`entmax` with its gradient."""

    @staticmethod
    def forward(ctx, energies):
        weights = entmax(energies)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (weights,) = ctx.saved_tensors
        return entmax_backward(weights, gradient)
