"""The equations of the scores: query and keys in, energies out."""

import torch
from torch import Tensor

# Energies are at least float32, whatever autocast says: what bfloat16 rounds off an energy of 16 changes a weight by a
# twentieth.


def additive_energies(query: Tensor, keys: Tensor, v: Tensor) -> Tensor:
    """query (B, Q, A), keys (B, S, A), v (A,) -> (B, Q, S): v . tanh(query + key).  # Bahdanau et al. (2015), A.1.2"""
    query, keys, v = _wide(query, keys, v)
    with torch.autocast(query.device.type, enabled=False):
        return torch.tanh(query.unsqueeze(2) + keys.unsqueeze(1)) @ v


def coverage_energies(query: Tensor, keys: Tensor, coverage: Tensor, coverage_weight: Tensor, v: Tensor) -> Tensor:
    """The additive score with coverage (B, Q, S), the sum of earlier weights, coverage_weight (A,): v . tanh(query +
    key + coverage cover).

    # Tu et al. (2016), 3: their linguistic coverage, each word's fertility being one
    """
    query, keys, coverage, coverage_weight, v = _wide(query, keys, coverage, coverage_weight, v)
    with torch.autocast(query.device.type, enabled=False):
        return torch.tanh(query.unsqueeze(2) + keys.unsqueeze(1) + coverage.unsqueeze(3) * coverage_weight) @ v


def dot_energies(query: Tensor, keys: Tensor) -> Tensor:
    """query (B, Q, A), keys (B, S, A) -> (B, Q, S): the inner products.  # Luong et al. (2015), eq. 8"""
    query, keys = _wide(query, keys)
    with torch.autocast(query.device.type, enabled=False):
        return query @ keys.transpose(1, 2)


def _wide(*tensors: Tensor) -> list[Tensor]:
    """Each in its type, or in float32 if that is narrower."""
    return [tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors]
