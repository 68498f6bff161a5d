"""Selects the fused attention for a score, a device and a type of products."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nmt.acceleration.fused.attention import FusedAdditive, FusedAttention, FusedCoverage, FusedDot, Workspace
from nmt.acceleration.kernels import Kernel, is_enabled
from nmt.acceleration.matmul import bounded_exp_
from nmt.attention.normalizers import Normalizer
from nmt.attention.scores import Source


class ScoreWeights(NamedTuple):
    """The weights of a score: none for dot products; query (A, H) and v (A,) of an additive score, and coverage_weight
    (A,) with coverage."""

    query: Tensor | None = None
    v: Tensor | None = None
    coverage_weight: Tensor | None = None


def create_attention(
    source: Source,
    score: ScoreWeights,
    normalizer: Normalizer,
    steps: int,
    dtype: torch.dtype,
    accumulation: torch.dtype,
) -> FusedAttention:
    """Attention over `steps` steps. dtype: of matrix products; accumulation: of everything else."""
    memory, _, mask = source
    batch, positions, width = memory.shape
    contexts = memory.new_empty(steps, batch, width, dtype=accumulation)
    workspace = Workspace(
        memory,
        torch.zeros(batch, positions, dtype=accumulation, device=memory.device).masked_fill_(~mask, -math.inf),
        contexts,
        memory.new_empty(steps, batch, positions, dtype=accumulation),
        None if dtype == accumulation else torch.empty_like(contexts, dtype=dtype),
    )
    attention = _create_score(source, score, workspace, dtype, triton=normalizer is Normalizer.softmax)
    attention.normalizer = normalizer
    return attention


def _create_score(
    source: Source, score: ScoreWeights, workspace: Workspace, dtype: torch.dtype, *, triton: bool
) -> FusedAttention:
    """triton: whether its kernels, which have only softmax, may be used."""
    memory, keys, _ = source
    accumulation = workspace.contexts.dtype
    query, v, coverage_weight = score
    triton = triton and coverage_weight is None and is_enabled(Kernel.triton, memory, dtype)
    if triton and query is not None and v is not None:
        from nmt.acceleration.fused import triton_attention  # triton is not installed everywhere

        if memory.shape[1] <= triton_attention.MAX_POSITIONS:
            workspace = workspace._replace(memory=memory.to(dtype).contiguous())
            keys, query, v = keys.to(dtype).contiguous(), query.to(dtype), v.to(accumulation)
            return triton_attention.TritonAdditive(workspace, keys, query, v)
    workspace = workspace._replace(memory=memory.to(accumulation))
    keys = keys.to(accumulation)
    if query is None or v is None:
        return FusedDot(workspace, keys)
    query, v = query.to(dtype), v.to(accumulation)
    if coverage_weight is not None:
        return FusedCoverage(workspace, 2 * keys, query, v, coverage_weight.to(accumulation))
    return FusedAdditive(workspace, bounded_exp_(2 * keys), query, v)
