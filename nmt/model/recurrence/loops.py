"""Loops over steps as one autograd function each, with hand-written backward.

In the loop of the backward stands only what recurs; whatever can wait is one product over all steps after it. The functions
take and give time-major tensors.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.model.recurrence.cells import CellTape, GRUAfterTape
from nmt.model.recurrence.looks import AdditiveTape, DotTape, record_look
from nmt.model.recurrence.products import add_product, weight_gradient, wide_dtype


def _gates(projected: Tensor) -> Tensor:
    """A copy that the tape may overwrite, time-major and in the type of states."""
    return torch.empty(projected.shape, dtype=wide_dtype(projected.dtype), device=projected.device).copy_(projected)


def _last(d_states: Tensor | None, cell: CellTape) -> Tensor:
    """The gradient that enters at the last state, and is then carried back."""
    last = cell.state[-1]
    return torch.zeros_like(last) if d_states is None else d_states.select(-3, cell.steps).to(last.dtype, copy=True)


def _bias_gradient(cell: CellTape) -> Tensor | None:
    return cell.bias_gradient() if isinstance(cell, GRUAfterTape) else None


class RunCell(torch.autograd.Function):
    """A cell over a sequence: projected (..., T, B, gates * H), start (..., B, state_size) -> states (..., T + 1, B, state_size).

    keep (..., T, B, 1): a state is multiplied by it; 0 where the step is padding. Before a sentence the state so stays
    zero, which is how the backward direction reads it from its end.
    """

    @staticmethod
    def forward(ctx, tape: type[CellTape], dtype, projected, start, keep, weight, bias):
        cell = tape.record(weight, bias, _gates(projected), start, dtype)
        for t in range(cell.steps):
            cell.advance(t)
            if keep is not None:
                cell.state[t + 1].mul_(keep.select(-3, t))
                if cell.narrow is not None:
                    cell.operand[t + 1].mul_(keep.select(-3, t))
        ctx.tape = tape
        ctx.save_for_backward(keep, *cell.buffers)
        return cell.states

    @staticmethod
    @once_differentiable
    def backward(ctx, d_states):
        keep, *buffers = ctx.saved_tensors
        cell = ctx.tape(*buffers)
        with torch.autocast(d_states.device.type, enabled=False):
            cell.start_backward()
            gradient = _last(d_states, cell)
            for t in reversed(range(cell.steps)):
                if keep is not None:
                    gradient.mul_(keep.select(-3, t))
                cell.retreat(t, gradient)
                gradient.add_(d_states.select(-3, t))
            return None, None, cell.d_gates, gradient, None, cell.weight_gradients(), _bias_gradient(cell)


class LookThenUpdate(torch.autograd.Function):
    """Bahdanau's loop: attention asks with the state, the context enters the gates.

    projected (T, B, gates * H): the words' part of the gates; start (B, state_size); memory (B, S, M), keys (B, S, A), mask
    (B, S); context_weight (gates * H, M); query (A, H) and v (A,) of the additive score, or None
    -> states (T + 1, B, state_size), contexts (T, B, M), weights (T, B, S).
    """

    @staticmethod
    def forward(ctx, tape, dtype, projected, start, memory, keys, mask, weight, bias, context_weight, query, v):
        gates = _gates(projected)
        cell = tape.record(weight, bias, gates, start, dtype)
        look = record_look(memory, keys, mask, query, v, cell.steps, dtype, gates.dtype)
        context_weight = context_weight.to(dtype)
        for t in range(cell.steps):
            look.advance(t, cell.asker(t))
            add_product(cell.gate[t], look.operand[t], context_weight.t())
            cell.advance(t)
        ctx.tapes = tape, len(cell.buffers), type(look)
        ctx.save_for_backward(context_weight, *cell.buffers, *look.buffers)
        ctx.set_materialize_grads(False)
        return cell.states, look.contexts, look.weights

    @staticmethod
    @once_differentiable
    def backward(ctx, d_states, d_contexts, d_weights):
        context_weight, *buffers = ctx.saved_tensors
        tape, split, look_tape = ctx.tapes
        cell: CellTape = tape(*buffers[:split])
        look: AdditiveTape | DotTape = look_tape(*buffers[split:])
        with torch.autocast(cell.states.device.type, enabled=False):
            cell.start_backward()
            if d_contexts is None:
                look.start_backward(torch.zeros_like(look.contexts), d_weights)
            else:
                look.start_backward(d_contexts.clone(memory_format=torch.contiguous_format), d_weights)
            gradient = _last(d_states, cell)
            for t in reversed(range(cell.steps)):
                cell.retreat(t, gradient)
                add_product(look.d_context[t].squeeze(1), cell.d_gate[t], context_weight)
                look.retreat(t, cell.asker(t), gradient[:, : cell.size])
                if d_states is not None:
                    gradient.add_(d_states[t])
            d_score = look.score_gradients(cell.asked())
            return (
                *(None, None, cell.d_gates, gradient),
                *(look.memory_gradient(), d_score.keys, None),
                *(cell.weight_gradients(), _bias_gradient(cell), weight_gradient(cell.d_gates, look.operands)),
                *(d_score.query, d_score.v),
            )
