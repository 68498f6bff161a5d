"""The loops over steps, fast: what ``nmt.model`` computes step by step, with a hand-written backward.

The plain loops remain the reference; ``plain()`` goes back to them. A cell or score that has no tape runs plainly too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nmt.model.attention import (
    AdditiveAttention,
    Attention,
    ConcatAttention,
    CoverageAttention,
    DotAttention,
    GeneralAttention,
    Look,
    ScaledDotAttention,
    Source,
)
from nmt.model.cells import Cell, GRUAfterCell, GRUCell, LSTMCell, run_cell
from nmt.model.dropout import Keep
from nmt.model.recurrence import cudnn
from nmt.model.recurrence.cells import CellTape, GRUAfterTape, GRUTape, LSTMTape
from nmt.model.recurrence.loops import LookAtOnce, LookThenUpdate, RunCell, UpdateThenLook
from nmt.model.recurrence.products import product_dtype
from nmt.model.recurrence.ways import Kernel, is_plain, plain, use, uses, using

__all__ = ["Kernel", "is_fast", "look_at_once", "look_then_update", "outputs", "plain", "run", "run_directions"]
__all__ += ["takes_cudnn", "update_then_look", "use", "uses", "using"]

_TAPES: dict[type[Cell], type[CellTape]] = {GRUCell: GRUTape, GRUAfterCell: GRUAfterTape, LSTMCell: LSTMTape}
_SCORES = (
    *(AdditiveAttention, ConcatAttention, CoverageAttention),
    *(DotAttention, ScaledDotAttention, GeneralAttention),
)


def is_fast(cell: Cell, attention: Attention | None = None) -> bool:
    """Whether the fast loops run, and know this cell and this score."""
    return not is_plain() and type(cell) in _TAPES and (attention is None or type(attention) in _SCORES)


class Looked(NamedTuple):
    """Time-major: states (T + 1, B, state_size), the first included; contexts (T, B, M), weights (T, B, S)."""

    states: Tensor
    contexts: Tensor
    weights: Tensor


class Fed(NamedTuple):
    """Time-major: attentional (T, B, H), Luong's h~ of every step; weights (T, B, S)."""

    attentional: Tensor
    weights: Tensor


def run(cell: Cell, projected: Tensor, start: Tensor) -> Tensor:
    """projected (T, B, gates * H), start (B, state_size) -> states (T + 1, B, state_size), the first included."""
    if not is_fast(cell):
        return run_cell(cell, projected, start)
    dtype = product_dtype(projected, start)
    with torch.autocast(projected.device.type, enabled=False):
        states = RunCell.apply(_tape(cell, projected, dtype), dtype, projected, start, None, cell.weight, _bias(cell))
    return states.to(start.dtype)


def takes_cudnn(cell: Cell, inputs: Tensor) -> bool:
    """Whether `outputs` of these inputs is one call of cuDNN."""
    return cudnn.serves(cell, inputs, product_dtype(inputs, inputs))


def outputs(cell: Cell, inputs: Tensor, start: Tensor) -> Tensor:
    """What others see of a cell's states: inputs (T, B, X), start (B, state_size) -> (T + 1, B, H), that of the start
    included."""
    if not takes_cudnn(cell, inputs):
        return cell.output(run(cell, cell.project(inputs), start))
    dtype = product_dtype(inputs, start)
    with torch.autocast(inputs.device.type, enabled=False):
        made = cudnn.run(cell, inputs, start, dtype)
    return torch.cat((cell.output(start).unsqueeze(0), made.to(start.dtype)))


def run_directions(cells: Sequence[Cell], projected: Tensor, keep: Tensor) -> Tensor:
    """Cells side by side, each on its own sequence, from states of zeros.

    projected (D, T, B, gates * H); keep (D, T, B, 1): 0 where a cell's step is padding, else 1 -> outputs (D, T, B, H).
    """
    cell = cells[0]
    dtype = product_dtype(projected, keep)
    start = keep.new_zeros(len(cells), projected.shape[2], cell.state_size)
    weight = torch.stack([cell.weight for cell in cells])
    biases = [bias for bias in map(_bias, cells) if bias is not None]
    bias = torch.stack(biases) if biases else None
    with torch.autocast(projected.device.type, enabled=False):
        states = RunCell.apply(_tape(cell, projected, dtype), dtype, projected, start, keep, weight, bias)
    return cell.output(states[:, 1:]).to(keep.dtype)


def look_then_update(
    cell: Cell, attention: Attention, context_weight: Tensor, projected: Tensor, start: Tensor, source: Source
) -> Looked:
    """Bahdanau's loop: projected (T, B, gates * H), start (B, state_size), context_weight (gates * H, M) -> Looked."""
    dtype = product_dtype(projected, start)
    with torch.autocast(projected.device.type, enabled=False):
        looked = LookThenUpdate.apply(
            *(_tape(cell, projected, dtype), dtype, projected, start),
            *(source.memory, _keys(attention, source), source.mask),
            *(cell.weight, _bias(cell), context_weight),
            *_score_weights(attention),
        )
    states, contexts, weights = looked
    return Looked(states.to(start.dtype), contexts.to(start.dtype), weights)


def update_then_look(
    cells: Sequence[Cell],
    attention: Attention,
    fed_weight: Tensor,
    combine_weight: Tensor,
    projected: Tensor,
    starts: Sequence[Tensor],
    fed: Tensor,
    source: Source,
    dropout: float,
) -> Fed:
    """Luong's loop with input feeding: cells bottom first, projected (T, B, gates * H) for the bottom one, `starts` (B,
    state_size) of each, fed (B, H): the h~ before the first step; dropout on the inputs of upper cells -> Fed.
    """
    dtype = product_dtype(projected, fed)
    layers: list[Tensor | None] = []
    for cell, start in zip(cells, starts, strict=True):
        layers += [cell.weight, _bias(cell), start]
    for cell in cells[1:]:
        layers += [cell.project.weight, cell.project.bias]
    drops = None
    if dropout and len(cells) > 1:
        keep = Keep(torch.Size((len(cells) - 1, len(projected), *fed.shape)), dropout, fed.device)
        drops = keep.mask.to(fed.dtype).mul_(keep.scale)
    with torch.autocast(projected.device.type, enabled=False):
        outputs, weights = UpdateThenLook.apply(
            *(_tape(cells[0], projected, dtype), dtype, projected, fed),
            *(source.memory, _keys(attention, source), source.mask),
            *(fed_weight, combine_weight, *_score_weights(attention), drops, *layers),
        )
    return Fed(outputs[1:].to(fed.dtype), weights)


def look_at_once(attention: AdditiveAttention, hidden: Tensor, source: Source) -> Look:
    """All looks of hidden (T, B, H) -> context (B, T, M), weights (B, T, S), without the plain path's (B, T, S, A)."""
    dtype = product_dtype(source.keys, hidden)
    with torch.autocast(hidden.device.type, enabled=False):
        contexts, weights = LookAtOnce.apply(
            *(dtype, hidden, source.memory, source.keys, source.mask, *_score_weights(attention))
        )
    return Look(contexts.to(hidden.dtype).transpose(0, 1), weights.transpose(0, 1))


def _tape(cell: Cell, like: Tensor, dtype: torch.dtype) -> type[CellTape]:
    """The tape for products in `dtype` on the device of `like`."""
    if type(cell) is GRUCell and uses(Kernel.triton, like, dtype):
        from nmt.model.recurrence.triton_cells import TritonGRUTape  # what it imports is not everywhere

        return TritonGRUTape
    return _TAPES[type(cell)]


def _bias(cell: Cell) -> Tensor | None:
    return cell.candidate_bias if isinstance(cell, GRUAfterCell) else None


def _keys(attention: Attention, source: Source) -> Tensor:
    """The keys of a plain dot product: a scale may as well stand on this side, once a sentence."""
    if isinstance(attention, ScaledDotAttention):
        return source.keys * attention.size**-0.5
    return source.keys


def _score_weights(attention: Attention) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """query (A, H) and v (A,) of an additive score, and cover (A,) of one with coverage."""
    if isinstance(attention, AdditiveAttention):
        return attention.query.weight, attention.v, getattr(attention, "cover", None)
    return None, None, None
