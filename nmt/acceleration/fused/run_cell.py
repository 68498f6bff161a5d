"""A cell over a sequence as one autograd function.

The backward loop computes only what the next step needs; the rest is one product over all steps afterwards. Tensors are
time-major.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nmt.acceleration.fused.cells import FusedCell, FusedGRUResetAfter
from nmt.acceleration.matmul import accumulation_dtype


def copy_gates(projected: Tensor) -> Tensor:
    """A copy that the cell may overwrite, time-major and in the type of states."""
    return torch.empty(projected.shape, dtype=accumulation_dtype(projected.dtype), device=projected.device).copy_(
        projected
    )


def last_gradient(d_states: Tensor | None, cell: FusedCell) -> Tensor:
    """The gradient of the last state as an output, from which the backward loop starts."""
    last = torch.zeros_like(cell.state[-1], memory_format=torch.contiguous_format)
    return last if d_states is None else last.copy_(d_states.select(-3, cell.steps))


def own_gradient(gradient: Tensor | None, output: Tensor) -> Tensor:
    """A copy of the gradient of an output that the backward loop may add to; zeros if there is none."""
    return torch.zeros_like(output) if gradient is None else gradient.clone(memory_format=torch.contiguous_format)


def bias_gradient(cell: FusedCell) -> Tensor | None:
    """The gradient of the candidate's bias; None for cells without it."""
    return cell.bias_gradient() if isinstance(cell, FusedGRUResetAfter) else None


class RunCell(torch.autograd.Function):
    """A cell over a sequence.

    projected (..., T, B, gates * H), start (..., B, state_size) -> states (..., T + 1, B, state_size). step_mask (...,
    T, B, 1): the factor of a state; 0 if the step is padding. So the state is zero before the begin of a sentence,
    which for the backward direction is its end.
    """

    @staticmethod
    def forward(ctx, cell_type: type[FusedCell], dtype, projected, start, step_mask, weight, bias):
        cell = cell_type.create(weight, bias, copy_gates(projected), start, dtype)
        for t in range(cell.steps):
            if step_mask is None:
                cell.forward_step(t)
            else:
                cell.forward_step_masked(t, step_mask.select(-3, t))
        ctx.cell_type = cell_type
        ctx.save_for_backward(step_mask, *cell.buffers)
        return cell.states

    @staticmethod
    @once_differentiable
    def backward(ctx, d_states):
        step_mask, *buffers = ctx.saved_tensors
        cell = ctx.cell_type(*buffers)
        with torch.autocast(d_states.device.type, enabled=False):
            cell.start_backward()
            gradient = last_gradient(d_states, cell)
            for t in reversed(range(cell.steps)):
                mask = None if step_mask is None else step_mask.select(-3, t)
                cell.backward_step_masked(t, gradient, mask, d_states.select(-3, t))
            return None, None, cell.d_gates, gradient, None, cell.weight_gradients(), bias_gradient(cell)
