"""The loops over steps, fast: what ``nmt.model`` computes step by step, with a hand-written backward.

The plain loops remain the reference; ``reference()`` goes back to them. A cell or score without a fused version runs on
the reference loops too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nmt.acceleration.fused import cudnn
from nmt.acceleration.fused.cells import FusedCell, FusedGRU, FusedGRUResetAfter, FusedLSTM
from nmt.acceleration.fused.kernels import Kernel, is_enabled, is_reference, kernels_enabled, reference, set_kernels
from nmt.acceleration.fused.loops import AttendAll, BahdanauLoop, LuongLoop, RunCell
from nmt.acceleration.fused.matmul import matmul_dtype
from nmt.model.attention import (
    AdditiveAttention,
    Attention,
    AttentionOutput,
    ConcatAttention,
    CoverageAttention,
    DotAttention,
    GeneralAttention,
    ScaledDotAttention,
    Source,
)
from nmt.model.cells import Cell, GRUCell, GRUResetAfterCell, LSTMCell, run_cell
from nmt.model.dropout import DropoutMask

__all__ = ["Kernel", "attend_all", "bahdanau_loop", "is_fast", "outputs", "reference", "run", "run_directions"]
__all__ += ["is_enabled", "kernels_enabled", "luong_loop", "set_kernels", "takes_cudnn"]

_FUSED_CELLS: dict[type[Cell], type[FusedCell]] = {
    GRUCell: FusedGRU,
    GRUResetAfterCell: FusedGRUResetAfter,
    LSTMCell: FusedLSTM,
}
_FUSED_SCORES = (
    *(AdditiveAttention, ConcatAttention, CoverageAttention),
    *(DotAttention, ScaledDotAttention, GeneralAttention),
)


def is_fast(cell: Cell, attention: Attention | None = None) -> bool:
    """Whether the fast loops run, and know this cell and this score."""
    return not is_reference() and type(cell) in _FUSED_CELLS and (attention is None or type(attention) in _FUSED_SCORES)


class BahdanauOutputs(NamedTuple):
    """Time-major: states (T + 1, B, state_size), the first included; contexts (T, B, M), weights (T, B, S)."""

    states: Tensor
    contexts: Tensor
    weights: Tensor


class LuongOutputs(NamedTuple):
    """Time-major: attentional (T, B, H), Luong's h~ of every step; weights (T, B, S)."""

    attentional: Tensor
    weights: Tensor


def run(cell: Cell, projected: Tensor, start: Tensor) -> Tensor:
    """projected (T, B, gates * H), start (B, state_size) -> states (T + 1, B, state_size), the first included."""
    if not is_fast(cell):
        return run_cell(cell, projected, start)
    dtype = matmul_dtype(projected, start)
    with torch.autocast(projected.device.type, enabled=False):
        states = RunCell.apply(
            _fused_cell(cell, projected, dtype), dtype, projected, start, None, cell.weight, _bias(cell)
        )
    return states.to(start.dtype)


def takes_cudnn(cell: Cell, inputs: Tensor) -> bool:
    """Whether `outputs` of these inputs is one call of cuDNN."""
    return cudnn.is_supported(cell, inputs, matmul_dtype(inputs, inputs))


def outputs(cell: Cell, inputs: Tensor, start: Tensor) -> Tensor:
    """What others see of a cell's states: inputs (T, B, X), start (B, state_size) -> (T + 1, B, H), that of the start
    included."""
    if not takes_cudnn(cell, inputs):
        return cell.output(run(cell, cell.project(inputs), start))
    dtype = matmul_dtype(inputs, start)
    with torch.autocast(inputs.device.type, enabled=False):
        hidden = cudnn.run(cell, inputs, start, dtype)
    return torch.cat((cell.output(start).unsqueeze(0), hidden.to(start.dtype)))


def run_directions(cells: Sequence[Cell], projected: Tensor, step_mask: Tensor) -> Tensor:
    """Cells side by side, each on its own sequence, from states of zeros.

    projected (D, T, B, gates * H); step_mask (D, T, B, 1): 0 where a cell's step is padding, else 1 -> outputs (D, T,
    B, H).
    """
    cell = cells[0]
    dtype = matmul_dtype(projected, step_mask)
    start = step_mask.new_zeros(len(cells), projected.shape[2], cell.state_size)
    weight = torch.stack([cell.weight for cell in cells])
    biases = [bias for bias in map(_bias, cells) if bias is not None]
    bias = torch.stack(biases) if biases else None
    with torch.autocast(projected.device.type, enabled=False):
        states = RunCell.apply(_fused_cell(cell, projected, dtype), dtype, projected, start, step_mask, weight, bias)
    return cell.output(states[:, 1:]).to(step_mask.dtype)


def bahdanau_loop(
    cell: Cell, attention: Attention, context_weight: Tensor, projected: Tensor, start: Tensor, source: Source
) -> BahdanauOutputs:
    """Bahdanau's loop: projected (T, B, gates * H), start (B, state_size), context_weight (gates * H, M) ->
    BahdanauOutputs."""
    dtype = matmul_dtype(projected, start)
    with torch.autocast(projected.device.type, enabled=False):
        outputs = BahdanauLoop.apply(
            *(_fused_cell(cell, projected, dtype), dtype, projected, start),
            *(source.memory, _keys(attention, source), source.mask),
            *(cell.weight, _bias(cell), context_weight),
            *_score_weights(attention),
        )
    states, contexts, weights = outputs
    return BahdanauOutputs(states.to(start.dtype), contexts.to(start.dtype), weights)


def luong_loop(
    cells: Sequence[Cell],
    attention: Attention,
    input_feed_weight: Tensor,
    combine_weight: Tensor,
    projected: Tensor,
    starts: Sequence[Tensor],
    attentional: Tensor,
    source: Source,
    dropout: float,
) -> LuongOutputs:
    """Luong's loop with input feeding: cells bottom first, projected (T, B, gates * H) for the bottom one, `starts` (B,
    state_size) of each, attentional (B, H): the h~ before the first step; dropout on the inputs of upper cells ->
    LuongOutputs.
    """
    dtype = matmul_dtype(projected, attentional)
    layers: list[Tensor | None] = []
    for cell, start in zip(cells, starts, strict=True):
        layers += [cell.weight, _bias(cell), start]
    for cell in cells[1:]:
        layers += [cell.project.weight, cell.project.bias]
    drops = None
    if dropout and len(cells) > 1:
        drawn = DropoutMask(
            torch.Size((len(cells) - 1, len(projected), *attentional.shape)), dropout, attentional.device
        )
        drops = drawn.mask.to(attentional.dtype).mul_(drawn.scale)
    with torch.autocast(projected.device.type, enabled=False):
        outputs, weights = LuongLoop.apply(
            *(_fused_cell(cells[0], projected, dtype), dtype, projected, attentional),
            *(source.memory, _keys(attention, source), source.mask),
            *(input_feed_weight, combine_weight, *_score_weights(attention), drops, *layers),
        )
    return LuongOutputs(outputs[1:].to(attentional.dtype), weights)


def attend_all(attention: AdditiveAttention, hidden: Tensor, source: Source) -> AttentionOutput:
    """Attention of all steps, hidden (T, B, H) -> context (B, T, M), weights (B, T, S), without the plain path's (B, T,
    S, A)."""
    dtype = matmul_dtype(source.keys, hidden)
    with torch.autocast(hidden.device.type, enabled=False):
        contexts, weights = AttendAll.apply(
            *(dtype, hidden, source.memory, source.keys, source.mask, *_score_weights(attention))
        )
    return AttentionOutput(contexts.to(hidden.dtype).transpose(0, 1), weights.transpose(0, 1))


def _fused_cell(cell: Cell, like: Tensor, dtype: torch.dtype) -> type[FusedCell]:
    """The fused cell for products in `dtype` on the device of `like`."""
    if type(cell) is GRUCell and is_enabled(Kernel.triton, like, dtype):
        from nmt.acceleration.fused.triton_cells import TritonGRU  # what it imports is not everywhere

        return TritonGRU
    return _FUSED_CELLS[type(cell)]


def _bias(cell: Cell) -> Tensor | None:
    return cell.candidate_bias if isinstance(cell, GRUResetAfterCell) else None


def _keys(attention: Attention, source: Source) -> Tensor:
    """The keys of a plain dot product: a scale may as well stand on this side, once a sentence."""
    if isinstance(attention, ScaledDotAttention):
        return source.keys * attention.size**-0.5
    return source.keys


def _score_weights(attention: Attention) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """query (A, H) and v (A,) of an additive score, and coverage_weight (A,) of one with coverage."""
    if isinstance(attention, AdditiveAttention):
        return attention.query.weight, attention.v, getattr(attention, "coverage_weight", None)
    return None, None, None
