"""Chooses the fused attention for a score, a device and a type of products."""

import math

import torch
from torch import Tensor

from nmt.acceleration.fused.attention import FusedAdditive, FusedAttention, FusedCoverage, FusedDot
from nmt.acceleration.kernels import Kernel, is_enabled
from nmt.acceleration.matmul import bounded_exp_
from nmt.model.normalizers import Normalizer


def create_attention(
    normalizer: Normalizer,
    memory: Tensor,
    keys: Tensor,
    mask: Tensor,
    query: Tensor | None,
    v: Tensor | None,
    coverage_weight: Tensor | None,
    steps: int,
    dtype: torch.dtype,
    accumulation: torch.dtype,
) -> FusedAttention:
    """Attention over `steps` steps: additive if its weights query (A, H) and v (A,) are given, with coverage if
    coverage_weight (A,) is as well, else dot products. Triton has softmax alone."""
    batch, positions, width = memory.shape
    contexts = memory.new_empty(steps, batch, width, dtype=accumulation)
    weights = memory.new_empty(steps, batch, positions, dtype=accumulation)
    bias = torch.zeros(batch, positions, dtype=accumulation, device=memory.device).masked_fill_(~mask, -math.inf)
    low_precision = None if dtype == accumulation else torch.empty_like(contexts, dtype=dtype)
    workspace = (bias, contexts, weights, low_precision)
    if query is None or v is None:
        attention = FusedDot(memory.to(accumulation), *workspace, keys.to(accumulation))
    elif coverage_weight is not None:
        attention = FusedCoverage(
            memory.to(accumulation),
            *workspace,
            2 * keys.to(accumulation),
            query.to(dtype),
            v.to(accumulation),
            coverage_weight.to(accumulation),
        )
    elif normalizer is Normalizer.softmax and _fits_triton(memory, dtype):
        from nmt.acceleration.fused import triton_attention  # triton is not everywhere

        matmul_inputs = memory.to(dtype).contiguous(), keys.to(dtype).contiguous()
        attention = triton_attention.TritonAdditive(
            matmul_inputs[0], *workspace, matmul_inputs[1], query.to(dtype), v.to(accumulation)
        )
    else:
        attention = FusedAdditive(
            memory.to(accumulation),
            *workspace,
            bounded_exp_(2 * keys.to(accumulation)),
            query.to(dtype),
            v.to(accumulation),
        )
    attention.normalizer = normalizer
    return attention


def _fits_triton(memory: Tensor, dtype: torch.dtype) -> bool:
    if not is_enabled(Kernel.triton, memory, dtype):
        return False
    from nmt.acceleration.fused import triton_attention

    return memory.shape[1] <= triton_attention.MAX_POSITIONS
