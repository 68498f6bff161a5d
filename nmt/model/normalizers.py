"""From energies to weights: what makes a row of weights a distribution over the real positions."""

import torch
from torch import Tensor


def masked_softmax(energies: Tensor, mask: Tensor) -> Tensor:
    """energies (B, Q, S), mask (B, S) -> weights (B, Q, S), at least float32: rows sum to one, padding gets exactly 0.

    Every sentence has at least its end-of-sentence token, so no row is masked whole.
    """
    energies = energies.to(torch.promote_types(energies.dtype, torch.float32))
    return energies.masked_fill(~mask.unsqueeze(1), float("-inf")).softmax(-1)
