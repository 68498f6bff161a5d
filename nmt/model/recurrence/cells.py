"""A cell's steps forward and backward by hand: the equations of ``nmt.model.cells`` and their derivatives.

A tape is made for one batch. ``advance(t)`` goes from state t to t + 1; ``retreat(t, gradient)`` turns the gradient
of state t + 1 into that of state t, in place, and leaves the gradient of step t's gates in ``d_gates``. What doesn't
recur waits for ``weight_gradients``, one product over all steps.

Everything is time first. A leading dimension D (the two directions of an encoder) runs as many cells side by side: the
time dimension is always the third from the end. Products run in `dtype`, states and gates in float32 (or wider).
"""

import torch
from torch import Tensor

from nmt.model.recurrence.looks import Asker
from nmt.model.recurrence.products import add_product, sigmoid_backward, squash_, tanh_backward, weight_gradient


class CellTape:
    """One cell over one batch.

    weight (..., gates * H, H): in the products' type
    gates (..., T, B, gates * H): what reaches the gates from outside; step by step it becomes what the gates are
    states (..., T + 1, B, state_size): the first is given, the others are made
    narrow (..., T + 1, B, H): h in the products' type where that is narrower than the state's, else None

    A tape is its buffers: autograd keeps `buffers` between forward and backward, ``type(tape)(*buffers)`` is the tape.
    """

    def __init__(self, weight: Tensor, gates: Tensor, states: Tensor, narrow: Tensor | None, *more: Tensor):
        self.buffers = (weight, gates, states, narrow, *more)
        self.size = weight.shape[-1]
        self.steps = gates.shape[-3]
        self.weight = weight
        self.gates = gates
        self.gate = gates.unbind(-3)
        self.states = states
        self.state = states.unbind(-3)
        self.narrow = narrow
        self.hidden = states[..., : self.size] if narrow is None else narrow
        self.operand = self.hidden.unbind(-3)

    def asker(self, t: int) -> Asker:
        """State t as attention sees it."""
        return Asker(self.state[t][..., : self.size], self.operand[t])

    def asked(self, first: int) -> Asker:
        """The T states that asked, (T, B, H): `first` is 0 if a step begins with its look, 1 if it ends with it."""
        steps = slice(first, first + self.steps)
        return Asker(self.states[steps, :, : self.size], self.hidden[steps])

    @classmethod
    def record(
        cls, weight: Tensor, bias: Tensor | None, gates: Tensor, start: Tensor, dtype: torch.dtype
    ) -> "CellTape":
        """A fresh tape at state `start` (..., B, state_size); `bias` (..., H) is GRUAfterTape's."""
        size = weight.shape[-1]
        states = gates.new_empty(*gates.shape[:-3], gates.shape[-3] + 1, *start.shape[-2:])
        states.select(-3, 0).copy_(start)
        narrow = None
        if dtype != gates.dtype:
            narrow = torch.empty_like(states[..., :size], dtype=dtype)
            narrow.select(-3, 0).copy_(start[..., :size])
        return cls(weight.to(dtype), gates, states, narrow, *cls.room(bias, gates[..., :size], dtype))

    @staticmethod
    def room(bias: Tensor | None, like: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """What a cell keeps beside gates and states; like (..., T, B, H)."""
        return ()

    def advance(self, t: int) -> None:
        """states[t + 1] from states[t] and gates[t]."""
        raise NotImplementedError

    def advance_masked(self, t: int, keep: Tensor) -> None:
        """The same with the new state times keep (..., B, 1): 0 where the step is padding, else 1."""
        self.advance(t)
        self.state[t + 1].mul_(keep)
        if self.narrow is not None:
            self.operand[t + 1].mul_(keep)

    def start_backward(self) -> None:
        """Room for the gradients of the gates."""
        self.d_gates = torch.empty_like(self.gates, dtype=self.weight.dtype)
        self.d_gate = self.d_gates.unbind(-3)

    def retreat(self, t: int, gradient: Tensor) -> None:
        """gradient (..., B, state_size) of states[t + 1] -> of states[t], in place; fills d_gates[t]."""
        raise NotImplementedError

    def retreat_between(self, t: int, gradient: Tensor, keep: Tensor | None, outside: Tensor | None) -> None:
        """retreat, with `gradient` times keep (..., B, 1) before it and outside (..., B, state_size), what else reaches
        states[t], added after it."""
        if keep is not None:
            gradient.mul_(keep)
        self.retreat(t, gradient)
        if outside is not None:
            gradient.add_(outside)

    def weight_gradients(self) -> Tensor:
        """The gradient of the recurrent weight, in the products' type."""
        raise NotImplementedError

    def _keep(self, t: int) -> None:
        if self.narrow is not None:
            self.operand[t].copy_(self.state[t][..., : self.size])

    def _against_hidden(self, gradients: Tensor, hidden: Tensor) -> Tensor:
        """(..., T, B, X), (..., T, B, H) -> (..., X, H)."""
        if gradients.dim() == 3:
            return weight_gradient(gradients, hidden)
        return torch.stack([weight_gradient(*pair) for pair in zip(gradients, hidden, strict=True)])


class GRUTape(CellTape):
    """z, r = sigmoid(x + U s);  s~ = tanh(x + U (r * s));  s' = s + z * (s~ - s)"""

    def __init__(self, weight: Tensor, gates: Tensor, states: Tensor, narrow: Tensor | None, kept: Tensor):
        super().__init__(weight, gates, states, narrow, kept)
        # Contiguous, because side by side they would be copied by every product.
        parts = weight.split((2 * self.size, self.size), -2)
        self.gate_weight, self.candidate_weight = (part.contiguous() for part in parts)
        self.sigmoids = gates[..., : 2 * self.size].unbind(-3)
        self.update, self.reset, self.candidate = (part.unbind(-3) for part in gates.split(self.size, -1))
        self.kept = kept
        self.keep = kept.unbind(-3)

    @staticmethod
    def room(bias: Tensor | None, like: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        return (torch.empty_like(like, dtype=dtype),)  # r * s, the operand of the candidate's product

    def advance(self, t: int) -> None:
        state, candidate = self.state[t], self.candidate[t]
        add_product(self.sigmoids[t], self.operand[t], self.gate_weight.mT)
        self.sigmoids[t].sigmoid_()
        torch.mul(self.reset[t], state, out=self.keep[t])
        add_product(candidate, self.keep[t], self.candidate_weight.mT)
        torch.lerp(state, squash_(candidate, self.weight.dtype), self.update[t], out=self.state[t + 1])
        self._keep(t + 1)

    def start_backward(self) -> None:
        super().start_backward()
        self.d_sigmoids = self.d_gates[..., : 2 * self.size].unbind(-3)
        self.d_update, self.d_reset, self.d_candidate = (part.unbind(-3) for part in self.d_gates.split(self.size, -1))
        self.scratch = torch.empty_like(self.state[0])

    def retreat(self, t: int, gradient: Tensor) -> None:
        state, room = self.state[t], self.scratch
        torch.sub(self.candidate[t], state, out=room).mul_(gradient)
        sigmoid_backward(room, self.update[t], grad_input=self.d_update[t])
        torch.mul(gradient, self.update[t], out=room)
        gradient.sub_(room)
        tanh_backward(room, self.candidate[t], grad_input=self.d_candidate[t])
        d_kept = torch.matmul(self.d_candidate[t], self.candidate_weight)
        torch.mul(d_kept, state, out=room)
        sigmoid_backward(room, self.reset[t], grad_input=self.d_reset[t])
        gradient.add_(torch.mul(d_kept, self.reset[t], out=room))
        add_product(gradient, self.d_sigmoids[t], self.gate_weight)

    def weight_gradients(self) -> Tensor:
        gates, candidate = self.d_gates.split((2 * self.size, self.size), -1)
        hidden = self.hidden.narrow(-3, 0, self.steps)
        return torch.cat((self._against_hidden(gates, hidden), self._against_hidden(candidate, self.kept)), -2)


class GRUAfterTape(CellTape):
    """z, r = sigmoid(x + U s);  s~ = tanh(x + r * (U s + b));  s' = s + z * (s~ - s)"""

    def __init__(
        self, weight: Tensor, gates: Tensor, states: Tensor, narrow: Tensor | None, bias: Tensor, made: Tensor
    ):
        super().__init__(weight, gates, states, narrow, bias, made)
        self.bias = bias.unsqueeze(-2)
        self.sigmoids = gates[..., : 2 * self.size].unbind(-3)
        self.update, self.reset, self.candidate = (part.unbind(-3) for part in gates.split(self.size, -1))
        self.recurrent = made.unbind(-3)

    @staticmethod
    def room(bias: Tensor | None, like: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        assert bias is not None
        return bias, torch.empty_like(like)  # b and U s + b

    def advance(self, t: int) -> None:
        state, candidate = self.state[t], self.candidate[t]
        sigmoids, recurrent = torch.matmul(self.operand[t], self.weight.mT).split((2 * self.size, self.size), -1)
        self.sigmoids[t].add_(sigmoids).sigmoid_()
        torch.add(recurrent, self.bias, out=self.recurrent[t])
        candidate.addcmul_(self.reset[t], self.recurrent[t])
        torch.lerp(state, squash_(candidate, self.weight.dtype), self.update[t], out=self.state[t + 1])
        self._keep(t + 1)

    def start_backward(self) -> None:
        super().start_backward()
        self.d_update, self.d_reset, self.d_candidate = (part.unbind(-3) for part in self.d_gates.split(self.size, -1))
        # The recurrent product's own gradient: that of the gates, but r times it for the candidate.
        self.d_products = torch.empty_like(self.d_gates)
        self.d_product = self.d_products.unbind(-3)
        self.d_recurrent = self.d_products[..., 2 * self.size :].unbind(-3)
        self.scratch = torch.empty_like(self.state[0])
        self.d_tanh = torch.empty_like(self.state[0])

    def retreat(self, t: int, gradient: Tensor) -> None:
        room, d_tanh = self.scratch, self.d_tanh
        torch.sub(self.candidate[t], self.state[t], out=room).mul_(gradient)
        sigmoid_backward(room, self.update[t], grad_input=self.d_update[t])
        torch.mul(gradient, self.update[t], out=room)
        gradient.sub_(room)
        tanh_backward(room, self.candidate[t], grad_input=d_tanh)
        torch.mul(d_tanh, self.recurrent[t], out=room)
        sigmoid_backward(room, self.reset[t], grad_input=self.d_reset[t])
        self.d_candidate[t].copy_(d_tanh)
        self.d_product[t].copy_(self.d_gate[t])
        torch.mul(d_tanh, self.reset[t], out=self.d_recurrent[t])
        add_product(gradient, self.d_product[t], self.weight)

    def weight_gradients(self) -> Tensor:
        return self._against_hidden(self.d_products, self.hidden.narrow(-3, 0, self.steps))

    def bias_gradient(self) -> Tensor:
        """The gradient of the candidate's bias, (..., H)."""
        return self.d_products[..., 2 * self.size :].sum((-3, -2), dtype=self.gates.dtype)


class LSTMTape(CellTape):
    """i, f, o = sigmoid(x + U h);  g = tanh(x + U h);  c' = f * c + i * g;  h' = o * tanh(c');  the state is [h; c]"""

    def __init__(self, weight: Tensor, gates: Tensor, states: Tensor, narrow: Tensor | None, squashed: Tensor):
        super().__init__(weight, gates, states, narrow, squashed)
        self.sigmoids = gates[..., : 3 * self.size].unbind(-3)
        parts = gates.split(self.size, -1)
        self.take, self.forget, self.show, self.candidate = (part.unbind(-3) for part in parts)
        self.h, self.c = (part.unbind(-3) for part in self.states.split(self.size, -1))
        self.squashed = squashed.unbind(-3)

    @staticmethod
    def room(bias: Tensor | None, like: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        return (torch.empty_like(like),)  # tanh(c')

    def advance(self, t: int) -> None:
        add_product(self.gate[t], self.operand[t], self.weight.mT)
        self.sigmoids[t].sigmoid_()
        torch.mul(self.forget[t], self.c[t], out=self.c[t + 1])
        self.c[t + 1].addcmul_(self.take[t], squash_(self.candidate[t], self.weight.dtype))
        self.squashed[t].copy_(self.c[t + 1])
        torch.mul(self.show[t], squash_(self.squashed[t], self.weight.dtype), out=self.h[t + 1])
        self._keep(t + 1)

    def start_backward(self) -> None:
        super().start_backward()
        parts = self.d_gates.split(self.size, -1)
        self.d_take, self.d_forget, self.d_show, self.d_candidate = (part.unbind(-3) for part in parts)
        self.scratch = torch.empty_like(self.squashed[0])

    def retreat(self, t: int, gradient: Tensor) -> None:
        d_h, d_c = gradient.split(self.size, -1)
        room = self.scratch
        torch.mul(d_h, self.squashed[t], out=room)
        sigmoid_backward(room, self.show[t], grad_input=self.d_show[t])
        torch.mul(d_h, self.show[t], out=room)
        d_c.add_(tanh_backward(room, self.squashed[t], grad_input=room))
        sigmoid_backward(torch.mul(d_c, self.candidate[t], out=room), self.take[t], grad_input=self.d_take[t])
        sigmoid_backward(torch.mul(d_c, self.c[t], out=room), self.forget[t], grad_input=self.d_forget[t])
        tanh_backward(torch.mul(d_c, self.take[t], out=room), self.candidate[t], grad_input=self.d_candidate[t])
        d_c.mul_(self.forget[t])
        d_h.zero_()
        add_product(d_h, self.d_gate[t], self.weight)

    def weight_gradients(self) -> Tensor:
        return self._against_hidden(self.d_gates, self.hidden.narrow(-3, 0, self.steps))
