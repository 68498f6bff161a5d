"""The equations of the scores: query and keys in, energies out."""

import torch
from torch import Tensor
from torch.nn import functional

# Energies are at least float32, also under autocast: the rounding of an energy of 16 to bfloat16 changes a weight by a
# twentieth.


def additive_energies(query: Tensor, keys: Tensor, v: Tensor) -> Tensor:
    """query (B, Q, A), keys (B, S, A), v (A,) -> (B, Q, S): v . tanh(query + key).  # Bahdanau et al. (2015), A.1.2

    With v (A, heads) -> (B, Q, S, heads); see `split_heads`.
    """
    query, keys, v = _wide(query, keys, v)
    with torch.autocast(query.device.type, enabled=False):
        return torch.tanh(query.unsqueeze(2) + keys.unsqueeze(1)) @ v


def coverage_energies(query: Tensor, keys: Tensor, coverage: Tensor, coverage_weight: Tensor, v: Tensor) -> Tensor:
    """The additive score with coverage: v . tanh(query + key + coverage coverage_weight).

    coverage (B, Q, S): the sum of earlier weights; coverage_weight (A,); the rest as in `additive_energies`.
    # Tu et al. (2016), 3: linguistic coverage with a fertility of one for each word
    """
    query, keys, coverage, coverage_weight, v = _wide(query, keys, coverage, coverage_weight, v)
    with torch.autocast(query.device.type, enabled=False):
        return torch.tanh(query.unsqueeze(2) + keys.unsqueeze(1) + coverage.unsqueeze(3) * coverage_weight) @ v


def dot_energies(query: Tensor, keys: Tensor, heads: int = 1) -> Tensor:
    """query (B, Q, A), keys (B, S, A) -> (B, Q, S): the inner products.  # Luong et al. (2015), eq. 8

    With more than one head -> (B, Q, S, heads): the inner products over the A / heads units of each head.
    """
    query, keys = _wide(query, keys)
    with torch.autocast(query.device.type, enabled=False):
        if heads == 1:
            return query @ keys.transpose(1, 2)
        by_head = query.unflatten(2, (heads, -1)).transpose(1, 2) @ keys.unflatten(2, (heads, -1)).permute(0, 2, 3, 1)
        return by_head.permute(0, 2, 3, 1)


def split_heads(v: Tensor, heads: int) -> Tensor:
    """v (A,) -> (A, heads): column i has the A / heads units of head i, and 0 for the units of other heads."""
    return torch.block_diag(*v.view(heads, -1, 1).unbind(0))


def location_energies(by_position: Tensor, positions: int) -> Tensor:
    """by_position (B, Q, P), energies of the first P positions -> (B, Q, S), S = positions: -inf beyond P.

    # Luong et al. (2015), 3.1: the location-based score
    """
    return functional.pad(_wide(by_position)[0], (0, positions - by_position.shape[-1]), value=float("-inf"))


def gaussian_energies(importance: Tensor, sharpness: Tensor, centers: Tensor, positions: int) -> Tensor:
    """The logarithm of a sum of K Gaussians: importance, sharpness and centers (B, Q, K) -> (B, Q, S), S = positions.

    log sum_k exp(importance_k - exp(sharpness_k) (center_k - u)^2), with u from 1 to S. The softmax of these energies
    is the sum of Gaussians, normalized over the positions.  # Graves (2013), eq. 46
    """
    importance, sharpness, centers = _wide(importance, sharpness, centers)
    u = torch.arange(1, positions + 1, dtype=centers.dtype, device=centers.device)
    distance = (centers.unsqueeze(2) - u.unsqueeze(1)).square()
    return (importance.unsqueeze(2) - sharpness.exp().unsqueeze(2) * distance).logsumexp(3)


def advance_centers(centers: Tensor, steps: Tensor) -> Tensor:
    """centers (..., K) after a step of exp(steps): they only move forward.  # Graves (2013), eq. 51"""
    centers, steps = _wide(centers, steps)
    return centers + steps.exp()


def _wide(*tensors: Tensor) -> list[Tensor]:
    """Each tensor in its own type, but at least in float32."""
    return [tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors]
