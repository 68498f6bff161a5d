"""The steps of a cell, with a hand-written backward: the equations of ``nmt.layers.cells`` and their derivatives.

A FusedCell is created for one batch. ``forward_step(t)`` computes state t + 1 from state t; ``backward_step(t,
gradient)`` replaces the gradient of state t + 1 by that of state t, and stores the gradient of step t's gates in
``d_gates``. Gradients that are not needed in the loop are computed by ``weight_gradients``, in one product over all
steps.

All tensors are time-major. With a leading dimension D (the two directions of an encoder) as many cells run side by
side: time is always the third dimension from the end. Products run in `dtype`, states and gates in float32 (or wider).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nmt.acceleration.fused.attention import Query
from nmt.acceleration.matmul import addmm_, fast_tanh_, sigmoid_backward, tanh_backward, weight_gradient


class FusedCell:
    """One cell over one batch.

    weight (..., gates * H, H): in the type of products
    gates (..., T, B, gates * H): the input of the gates, replaced step by step by their activations
    states (..., T + 1, B, state_size): the first is given, the others are computed
    low_precision (..., T + 1, B, H): h in the type of products if that is narrower than the state's, else None

    Autograd saves `buffers` between forward and backward; ``type(cell)(*buffers)`` is the same cell.
    """

    def __init__(self, weight: Tensor, gates: Tensor, states: Tensor, low_precision: Tensor | None, *more: Tensor):
        self.buffers = (weight, gates, states, low_precision, *more)
        self.size = weight.shape[-1]
        self.steps = gates.shape[-3]
        self.weight = weight
        self.gates = gates
        self.gate = gates.unbind(-3)
        self.states = states
        self.state = states.unbind(-3)
        self.low_precision = low_precision
        self.hidden = states[..., : self.size] if low_precision is None else low_precision
        self.matmul_input = self.hidden.unbind(-3)
        self.write_to(self.state[1:], self.matmul_input[1:])

    def write_to(self, states: Sequence[Tensor], matmul_inputs: Sequence[Tensor]) -> None:
        """Sets where forward steps write the new state (..., B, state_size) and h in the type of products (..., B, H):
        for each step a tensor, by default of this cell, else of the cell that continues from it."""
        self.new_state = states
        self.new_matmul_input = matmul_inputs

    def query_at(self, t: int) -> Query:
        """State t as a query."""
        return Query(self.state[t][..., : self.size], self.matmul_input[t])

    def all_queries(self, first: int) -> Query:
        """The queries of all T steps, (T, B, H): `first` is 0 if attention precedes the update of the state, 1 if it
        follows."""
        steps = slice(first, first + self.steps)
        return Query(self.states[steps, :, : self.size], self.hidden[steps])

    @classmethod
    def create(
        cls, weight: Tensor, bias: Tensor | None, gates: Tensor, start: Tensor, dtype: torch.dtype
    ) -> "FusedCell":
        """A new FusedCell with the state `start` (..., B, state_size); `bias` (..., H) is for FusedGRUResetAfter."""
        size = weight.shape[-1]
        states = gates.new_empty(*gates.shape[:-3], gates.shape[-3] + 1, *start.shape[-2:])
        states.select(-3, 0).copy_(start)
        low_precision = None
        if dtype != gates.dtype:
            low_precision = torch.empty_like(states[..., :size], dtype=dtype)
            low_precision.select(-3, 0).copy_(start[..., :size])
        return cls(weight.to(dtype), gates, states, low_precision, *cls.workspace(bias, gates[..., :size], dtype))

    @staticmethod
    def workspace(bias: Tensor | None, like: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """The buffers of a cell besides gates and states; like (..., T, B, H)."""
        return ()

    def forward_step(self, t: int) -> None:
        """Computes the new state, by default states[t + 1], from states[t] and gates[t]."""
        raise NotImplementedError

    def forward_step_masked(self, t: int, step_mask: Tensor) -> None:
        """`forward_step` with the new state times step_mask (..., B, 1): 0 if the step is padding, else 1."""
        self.forward_step(t)
        self.new_state[t].mul_(step_mask)
        if self.low_precision is not None:
            self.new_matmul_input[t].mul_(step_mask)

    def start_backward(self) -> None:
        """Allocates the gradients of the gates."""
        self.d_gates = torch.empty_like(self.gates, dtype=self.weight.dtype)
        self.d_gate = self.d_gates.unbind(-3)

    def backward_step(self, t: int, gradient: Tensor) -> None:
        """Replaces gradient (..., B, state_size) of states[t + 1] by that of states[t]; fills d_gates[t]."""
        raise NotImplementedError

    def backward_step_masked(self, t: int, gradient: Tensor, step_mask: Tensor | None, outside: Tensor | None) -> None:
        """`backward_step`, before it `gradient` times step_mask (..., B, 1), after it plus outside (..., B,
        state_size), the gradient of states[t] as an output."""
        if step_mask is not None:
            gradient.mul_(step_mask)
        self.backward_step(t, gradient)
        if outside is not None:
            gradient.add_(outside)

    def weight_gradients(self) -> Tensor:
        """The gradient of the recurrent weight, in the type of products."""
        raise NotImplementedError

    def _keep(self, t: int) -> None:
        if self.low_precision is not None:
            self.new_matmul_input[t].copy_(self.new_state[t][..., : self.size])

    def _against_hidden(self, gradients: Tensor, hidden: Tensor) -> Tensor:
        """(..., T, B, X), (..., T, B, H) -> (..., X, H)."""
        if gradients.dim() == 3:
            return weight_gradient(gradients, hidden)
        return torch.stack([weight_gradient(*pair) for pair in zip(gradients, hidden, strict=True)])


class FusedGRU(FusedCell):
    """z, r = sigmoid(x + U s);  s~ = tanh(x + U (r * s));  s' = s + z * (s~ - s)"""

    def __init__(
        self, weight: Tensor, gates: Tensor, states: Tensor, low_precision: Tensor | None, reset_states: Tensor
    ):
        super().__init__(weight, gates, states, low_precision, reset_states)
        # Contiguous, because otherwise every product would copy them.
        parts = weight.split((2 * self.size, self.size), -2)
        self.gate_weight, self.candidate_weight = (part.contiguous() for part in parts)
        self.sigmoids = gates[..., : 2 * self.size].unbind(-3)
        self.update, self.reset, self.candidate = (part.unbind(-3) for part in gates.split(self.size, -1))
        self.reset_states = reset_states
        self.reset_state = reset_states.unbind(-3)

    @staticmethod
    def workspace(bias: Tensor | None, like: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        return (torch.empty_like(like, dtype=dtype),)  # r * s, the operand of the candidate's product

    def forward_step(self, t: int) -> None:
        state, candidate = self.state[t], self.candidate[t]
        addmm_(self.sigmoids[t], self.matmul_input[t], self.gate_weight.mT)
        self.sigmoids[t].sigmoid_()
        torch.mul(self.reset[t], state, out=self.reset_state[t])
        addmm_(candidate, self.reset_state[t], self.candidate_weight.mT)
        torch.lerp(state, fast_tanh_(candidate, self.weight.dtype), self.update[t], out=self.new_state[t])
        self._keep(t)

    def start_backward(self) -> None:
        super().start_backward()
        self.d_sigmoids = self.d_gates[..., : 2 * self.size].unbind(-3)
        self.d_update, self.d_reset, self.d_candidate = (part.unbind(-3) for part in self.d_gates.split(self.size, -1))
        self.scratch = torch.empty_like(self.state[0])

    def backward_step(self, t: int, gradient: Tensor) -> None:
        state, workspace = self.state[t], self.scratch
        torch.sub(self.candidate[t], state, out=workspace).mul_(gradient)
        sigmoid_backward(workspace, self.update[t], grad_input=self.d_update[t])
        torch.mul(gradient, self.update[t], out=workspace)
        gradient.sub_(workspace)
        tanh_backward(workspace, self.candidate[t], grad_input=self.d_candidate[t])
        d_reset_state = torch.matmul(self.d_candidate[t], self.candidate_weight)
        torch.mul(d_reset_state, state, out=workspace)
        sigmoid_backward(workspace, self.reset[t], grad_input=self.d_reset[t])
        gradient.add_(torch.mul(d_reset_state, self.reset[t], out=workspace))
        addmm_(gradient, self.d_sigmoids[t], self.gate_weight)

    def weight_gradients(self) -> Tensor:
        gates, candidate = self.d_gates.split((2 * self.size, self.size), -1)
        hidden = self.hidden.narrow(-3, 0, self.steps)
        return torch.cat((self._against_hidden(gates, hidden), self._against_hidden(candidate, self.reset_states)), -2)


class FusedGRUResetAfter(FusedCell):
    """z, r = sigmoid(x + U s);  s~ = tanh(x + r * (U s + b));  s' = s + z * (s~ - s)"""

    def __init__(
        self,
        weight: Tensor,
        gates: Tensor,
        states: Tensor,
        low_precision: Tensor | None,
        bias: Tensor,
        recurrent: Tensor,
    ):
        super().__init__(weight, gates, states, low_precision, bias, recurrent)
        self.bias = bias.unsqueeze(-2)
        self.sigmoids = gates[..., : 2 * self.size].unbind(-3)
        self.update, self.reset, self.candidate = (part.unbind(-3) for part in gates.split(self.size, -1))
        self.recurrent = recurrent.unbind(-3)

    @staticmethod
    def workspace(bias: Tensor | None, like: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        assert bias is not None
        return bias, torch.empty_like(like)  # b and U s + b

    def forward_step(self, t: int) -> None:
        state, candidate = self.state[t], self.candidate[t]
        sigmoids, recurrent = torch.matmul(self.matmul_input[t], self.weight.mT).split((2 * self.size, self.size), -1)
        self.sigmoids[t].add_(sigmoids).sigmoid_()
        torch.add(recurrent, self.bias, out=self.recurrent[t])
        candidate.addcmul_(self.reset[t], self.recurrent[t])
        torch.lerp(state, fast_tanh_(candidate, self.weight.dtype), self.update[t], out=self.new_state[t])
        self._keep(t)

    def start_backward(self) -> None:
        super().start_backward()
        self.d_update, self.d_reset, self.d_candidate = (part.unbind(-3) for part in self.d_gates.split(self.size, -1))
        # The gradient of the recurrent product: that of the gates, times r for the candidate.
        self.d_products = torch.empty_like(self.d_gates)
        self.d_product = self.d_products.unbind(-3)
        self.d_recurrent = self.d_products[..., 2 * self.size :].unbind(-3)
        self.scratch = torch.empty_like(self.state[0])
        self.d_tanh = torch.empty_like(self.state[0])

    def backward_step(self, t: int, gradient: Tensor) -> None:
        workspace, d_tanh = self.scratch, self.d_tanh
        torch.sub(self.candidate[t], self.state[t], out=workspace).mul_(gradient)
        sigmoid_backward(workspace, self.update[t], grad_input=self.d_update[t])
        torch.mul(gradient, self.update[t], out=workspace)
        gradient.sub_(workspace)
        tanh_backward(workspace, self.candidate[t], grad_input=d_tanh)
        torch.mul(d_tanh, self.recurrent[t], out=workspace)
        sigmoid_backward(workspace, self.reset[t], grad_input=self.d_reset[t])
        self.d_candidate[t].copy_(d_tanh)
        self.d_product[t].copy_(self.d_gate[t])
        torch.mul(d_tanh, self.reset[t], out=self.d_recurrent[t])
        addmm_(gradient, self.d_product[t], self.weight)

    def weight_gradients(self) -> Tensor:
        return self._against_hidden(self.d_products, self.hidden.narrow(-3, 0, self.steps))

    def bias_gradient(self) -> Tensor:
        """The gradient of the candidate's bias, (..., H)."""
        return self.d_products[..., 2 * self.size :].sum((-3, -2), dtype=self.gates.dtype)


class FusedLSTM(FusedCell):
    """i, f, o = sigmoid(x + U h);  g = tanh(x + U h);  c' = f * c + i * g;  h' = o * tanh(c');  the state is [h; c]"""

    def __init__(self, weight: Tensor, gates: Tensor, states: Tensor, low_precision: Tensor | None, tanh_cell: Tensor):
        super().__init__(weight, gates, states, low_precision, tanh_cell)
        self.sigmoids = gates[..., : 3 * self.size].unbind(-3)
        parts = gates.split(self.size, -1)
        self.input_gate, self.forget_gate, self.output_gate, self.candidate = (part.unbind(-3) for part in parts)
        self.c = states[..., self.size :].unbind(-3)
        self.tanh_cell = tanh_cell.unbind(-3)

    def write_to(self, states: Sequence[Tensor], matmul_inputs: Sequence[Tensor]) -> None:
        super().write_to(states, matmul_inputs)
        self.new_parts = [state.split(self.size, -1) for state in states]

    @staticmethod
    def workspace(bias: Tensor | None, like: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        return (torch.empty_like(like),)  # tanh(c')

    def forward_step(self, t: int) -> None:
        addmm_(self.gate[t], self.matmul_input[t], self.weight.mT)
        self.sigmoids[t].sigmoid_()
        new_h, new_c = self.new_parts[t]
        torch.mul(self.forget_gate[t], self.c[t], out=new_c)
        new_c.addcmul_(self.input_gate[t], fast_tanh_(self.candidate[t], self.weight.dtype))
        self.tanh_cell[t].copy_(new_c)
        torch.mul(self.output_gate[t], fast_tanh_(self.tanh_cell[t], self.weight.dtype), out=new_h)
        self._keep(t)

    def start_backward(self) -> None:
        super().start_backward()
        parts = self.d_gates.split(self.size, -1)
        self.d_input_gate, self.d_forget_gate, self.d_output_gate, self.d_candidate = (
            part.unbind(-3) for part in parts
        )
        self.scratch = torch.empty_like(self.tanh_cell[0])

    def backward_step(self, t: int, gradient: Tensor) -> None:
        d_h, d_c = gradient.split(self.size, -1)
        workspace = self.scratch
        torch.mul(d_h, self.tanh_cell[t], out=workspace)
        sigmoid_backward(workspace, self.output_gate[t], grad_input=self.d_output_gate[t])
        torch.mul(d_h, self.output_gate[t], out=workspace)
        d_c.add_(tanh_backward(workspace, self.tanh_cell[t], grad_input=workspace))
        sigmoid_backward(
            torch.mul(d_c, self.candidate[t], out=workspace), self.input_gate[t], grad_input=self.d_input_gate[t]
        )
        sigmoid_backward(
            torch.mul(d_c, self.c[t], out=workspace), self.forget_gate[t], grad_input=self.d_forget_gate[t]
        )
        tanh_backward(
            torch.mul(d_c, self.input_gate[t], out=workspace), self.candidate[t], grad_input=self.d_candidate[t]
        )
        d_c.mul_(self.forget_gate[t])
        d_h.zero_()
        addmm_(d_h, self.d_gate[t], self.weight)

    def weight_gradients(self) -> Tensor:
        return self._against_hidden(self.d_gates, self.hidden.narrow(-3, 0, self.steps))
