"""The elementwise operations of a GRU in Triton: two kernels per step forward and two backward, instead of fifteen.

Importing this module requires triton, which is installed with torch's packages for CUDA.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false
# If triton is installed, the launches of its kernels do not fit its types:
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmt.acceleration.fused.cells import FusedGRU
from nmt.acceleration.matmul import addmm_

BLOCK = 1024  # units of one row in a program
WARPS = 4

# Program (b, d, units): row b of cell d of those side by side. A tensor is a pointer and its stride between cells; its
# rows are contiguous: gates and their gradients 3 * size wide (update, reset, candidate), others size.


@triton.jit
def reset_forward(
    gates, gates_step, state, state_step, reset_state, reset_state_step, size: tl.constexpr, BLOCK: tl.constexpr
):
    """Replaces the inputs of update and reset gates by their sigmoids; reset_state = r * s."""
    row, cell = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    unit = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    inside = unit < size
    gate = gates + cell * gates_step + row * 3 * size + unit
    update = 1.0 / (1.0 + tl.exp(-tl.load(gate, mask=inside, other=0.0)))
    reset = 1.0 / (1.0 + tl.exp(-tl.load(gate + size, mask=inside, other=0.0)))
    s = tl.load(state + cell * state_step + row * size + unit, mask=inside, other=0.0)
    tl.store(gate, update, mask=inside)
    tl.store(gate + size, reset, mask=inside)
    tl.store(
        reset_state + cell * reset_state_step + row * size + unit,
        (reset * s).to(reset_state.dtype.element_ty),
        mask=inside,
    )


@triton.jit
def update_forward(
    gates,
    gates_step,
    state,
    state_step,
    following,
    low_precision,
    low_precision_step,
    keep,
    keep_step,
    LOW_PRECISION: tl.constexpr,
    MASKED: tl.constexpr,
    size: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Replaces the input of the candidate by its tanh; following = s + z * (s~ - s), with MASKED times keep (D, B, 1),
    and, with LOW_PRECISION, the same in the type of products."""
    row, cell = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    unit = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    inside = unit < size
    gate = gates + cell * gates_step + row * 3 * size + unit
    update = tl.load(gate, mask=inside, other=0.0)
    candidate = 1.0 - 2.0 / (1.0 + tl.exp(2.0 * tl.load(gate + 2 * size, mask=inside, other=0.0)))
    place = cell * state_step + row * size + unit
    s = tl.load(state + place, mask=inside, other=0.0)
    s += update * (candidate - s)
    if MASKED:
        s *= tl.load(keep + cell * keep_step + row)
    tl.store(gate + 2 * size, candidate, mask=inside)
    tl.store(following + place, s, mask=inside)
    if LOW_PRECISION:
        tl.store(
            low_precision + cell * low_precision_step + row * size + unit,
            s.to(low_precision.dtype.element_ty),
            mask=inside,
        )


@triton.jit
def update_backward(
    gates,
    gates_step,
    state,
    state_step,
    gradient,
    gradient_step,
    d_gates,
    keep,
    keep_step,
    MASKED: tl.constexpr,
    size: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """gradient of the following state, with MASKED times keep -> d_gates of update and candidate; gradient is replaced
    by (1 - z) * gradient."""
    row, cell = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    unit = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    inside = unit < size
    place = cell * gates_step + row * 3 * size + unit
    update = tl.load(gates + place, mask=inside, other=0.0)
    candidate = tl.load(gates + place + 2 * size, mask=inside, other=0.0)
    s = tl.load(state + cell * state_step + row * size + unit, mask=inside, other=0.0)
    here = gradient + cell * gradient_step + row * size + unit
    g = tl.load(here, mask=inside, other=0.0)
    if MASKED:
        g *= tl.load(keep + cell * keep_step + row)
    d_update = g * (candidate - s) * update * (1.0 - update)
    d_candidate = g * update * (1.0 - candidate * candidate)
    tl.store(d_gates + place, d_update.to(d_gates.dtype.element_ty), mask=inside)
    tl.store(d_gates + place + 2 * size, d_candidate.to(d_gates.dtype.element_ty), mask=inside)
    tl.store(here, g - g * update, mask=inside)


@triton.jit
def reset_backward(
    gates,
    gates_step,
    state,
    state_step,
    gradient,
    gradient_step,
    d_reset_state,
    reset_state_step,
    d_gates,
    outside,
    outside_step,
    MORE: tl.constexpr,
    size: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """d_reset_state, the gradient of r * s -> d_gates of the reset gate; adds its part of the gradient of the state to
    gradient and, with MORE, outside (D, B, H)."""
    row, cell = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    unit = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    inside = unit < size
    place = cell * gates_step + row * 3 * size + size + unit
    reset = tl.load(gates + place, mask=inside, other=0.0)
    s = tl.load(state + cell * state_step + row * size + unit, mask=inside, other=0.0)
    d = tl.load(d_reset_state + cell * reset_state_step + row * size + unit, mask=inside, other=0.0).to(tl.float32)
    here = gradient + cell * gradient_step + row * size + unit
    tl.store(d_gates + place, (d * s * reset * (1.0 - reset)).to(d_gates.dtype.element_ty), mask=inside)
    total = tl.load(here, mask=inside, other=0.0) + d * reset
    if MORE:
        total += tl.load(outside + cell * outside_step + row * size + unit, mask=inside, other=0.0)
    tl.store(here, total, mask=inside)


def step_between_cells(x: Tensor) -> int:
    """The stride between cells of x (D, B, .); 0 for a single cell, x (B, .)."""
    return x.stride(0) if x.dim() == 3 else 0


class TritonGRU(FusedGRU):
    """FusedGRU with Triton kernels for the elementwise operations."""

    def __init__(
        self, weight: Tensor, gates: Tensor, states: Tensor, low_precision: Tensor | None, reset_states: Tensor
    ):
        super().__init__(weight, gates, states, low_precision, reset_states)
        cells = gates.shape[0] if gates.dim() == 4 else 1
        self.grid = (gates.shape[-2], cells, triton.cdiv(self.size, BLOCK))
        self.options = {"size": self.size, "BLOCK": BLOCK, "num_warps": WARPS}

    def forward_step(self, t: int) -> None:
        self._forward(t, None)

    def forward_step_masked(self, t: int, step_mask: Tensor) -> None:
        self._forward(t, step_mask)

    def _forward(self, t: int, step_mask: Tensor | None) -> None:
        gate, state, reset_state = self.gate[t], self.state[t], self.reset_state[t]
        shared = (gate, step_between_cells(gate), state, step_between_cells(state))
        addmm_(self.sigmoids[t], self.matmul_input[t], self.gate_weight.mT)
        reset_forward[self.grid](*shared, reset_state, step_between_cells(reset_state), **self.options)
        addmm_(self.candidate[t], reset_state, self.candidate_weight.mT)
        low_precision = self.new_matmul_input[t]
        mask = state if step_mask is None else step_mask
        update_forward[self.grid](
            *(
                *shared,
                self.new_state[t],
                low_precision,
                step_between_cells(low_precision),
                mask,
                step_between_cells(mask),
            ),
            LOW_PRECISION=self.low_precision is not None,
            MASKED=step_mask is not None,
            **self.options,
        )

    def backward_step(self, t: int, gradient: Tensor) -> None:
        self.backward_step_masked(t, gradient, None, None)

    def backward_step_masked(self, t: int, gradient: Tensor, step_mask: Tensor | None, outside: Tensor | None) -> None:
        gate, state, d_gate = self.gate[t], self.state[t], self.d_gate[t]
        shared = (gate, step_between_cells(gate), state, step_between_cells(state), gradient)
        shared += (step_between_cells(gradient),)
        mask = state if step_mask is None else step_mask
        update_backward[self.grid](
            *shared, d_gate, mask, step_between_cells(mask), MASKED=step_mask is not None, **self.options
        )
        d_reset_state = torch.matmul(self.d_candidate[t], self.candidate_weight)
        more = state if outside is None else outside
        reset_backward[self.grid](
            *(*shared, d_reset_state, step_between_cells(d_reset_state), d_gate, more, step_between_cells(more)),
            MORE=outside is not None,
            **self.options,
        )
        addmm_(gradient, self.d_sigmoids[t], self.gate_weight)
