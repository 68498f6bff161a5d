"""One look at the source, forward and backward by hand: the equations of ``nmt.model.attention`` and their derivatives.

``advance(t, asker)`` fills contexts[t] and weights[t]; ``retreat(t, ...)`` adds to the gradient of who asked.
Energies are not stored but recomputed, so memory grows with B T S and never with B T S A.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nmt.model.recurrence.products import add_product, weight_gradient
from nmt.model.recurrence.ways import Kernel, uses


class Asker(NamedTuple):
    """A state that asks, (B, H): in the state's type and in that of products."""

    state: Tensor
    operand: Tensor


class ScoreGradients(NamedTuple):
    """Of keys (B, S, A); of an additive score's weights query (A, H) and v (A,); of cover (A,) if it has one."""

    keys: Tensor
    query: Tensor | None = None
    v: Tensor | None = None
    cover: Tensor | None = None


class LookTape:
    """One batch's looks. All in float32 or wider, but for `narrow`.

    memory (B, S, M); bias (B, S): 0 on real tokens and -inf on padding
    contexts (T, B, M), weights (T, B, S): filled step by step
    narrow (T, B, M): the contexts in the products' type where that is narrower, else None

    As with cells, a tape is its `buffers`.
    """

    def __init__(
        self, memory: Tensor, bias: Tensor, contexts: Tensor, weights: Tensor, narrow: Tensor | None, *more: Tensor
    ):
        self.buffers = (memory, bias, contexts, weights, narrow, *more)
        self.memory = memory
        self.bias = bias
        self.contexts = contexts
        self.weights = weights
        self.narrow = narrow
        self.context = contexts.unsqueeze(2).unbind(0)  # (B, 1, M) each
        self.weight = weights.unsqueeze(2).unbind(0)  # (B, 1, S) each
        self.operands = contexts if narrow is None else narrow
        self.operand = self.operands.unbind(0)

    def advance(self, t: int, asker: Asker) -> None:
        """contexts[t] and weights[t], for the state that asks."""
        torch.softmax(self.energies(t, asker), -1, out=self.weight[t].squeeze(1))
        torch.bmm(self.weight[t], self.memory, out=self.context[t])
        if self.narrow is not None:
            self.operand[t].copy_(self.context[t].squeeze(1))

    def advance_all(self, asked: Asker) -> None:
        """The same for all steps: asked (T, B, H)."""
        for t in range(len(asked.state)):
            self.advance(t, Asker(asked.state[t], asked.operand[t]))

    def energies(self, t: int, asker: Asker) -> Tensor:
        """-> energies (B, S) of step t, -inf on padding, up to a constant of each row."""
        raise NotImplementedError

    def start_backward(self, asked: Asker, d_contexts: Tensor, d_weights: Tensor | None) -> None:
        """asked: every state that asked, (T, B, H); d_contexts (T, B, M): what reaches the contexts from outside, to
        which the loop adds the rest."""
        self.asked = asked
        self.d_contexts = d_contexts
        self.d_context = d_contexts.unbind(0)
        self.d_weights = d_weights

    def retreat(self, t: int, asker: Asker, d_state: Tensor) -> None:
        """With d_contexts[t] complete: adds this look's part to d_state (B, H), the asker's gradient."""
        weight = self.weight[t].squeeze(1)
        # Row times matrix, not matrix times column: torch takes ten times as long for the second on CPU.
        d_weight = torch.bmm(self.d_context[t].unsqueeze(1), self.memory.mT).squeeze(1)
        if self.d_weights is not None:
            d_weight += self.d_weights[t]
        # The softmax's derivative: alpha * (d - sum alpha d), in this order: the d have much in common, and what is
        # left after subtracting it should not be the rounding of alpha * d. Padding has alpha 0, and so gradient 0.
        d_energies = d_weight.sub_((weight * d_weight).sum(1, keepdim=True)).mul_(weight)
        self.retreat_energies(t, d_energies, asker, d_state)

    def retreat_all(self, d_states: Tensor) -> None:
        """The same for all steps: d_states (T, B, H)."""
        for t in reversed(range(len(d_states))):
            self.retreat(t, Asker(self.asked.state[t], self.asked.operand[t]), d_states[t])

    def retreat_energies(self, t: int, d_energies: Tensor, asker: Asker, d_state: Tensor) -> None:
        """d_energies (B, S) -> d_state, and whatever the keys' gradient needs."""
        raise NotImplementedError

    def score_gradients(self) -> ScoreGradients:
        """Once the loop has gone all the way back."""
        raise NotImplementedError

    def memory_gradient(self) -> Tensor:
        """(B, S, M): for every sentence the product of its weights with its contexts' gradients."""
        return torch.bmm(self.weights.permute(1, 2, 0), self.d_contexts.transpose(0, 1))


def bounded_exp_(x: Tensor) -> Tensor:
    """e^x in place, within the type's normal numbers."""
    limit = math.floor(-math.log(torch.finfo(x.dtype).tiny))
    return x.clamp_(-limit, limit).exp_()


class AdditiveTape(LookTape):
    """e = v . tanh(q + k), with q = W_a s.

    Exp form: tanh(q + k) = 1 - 2 r with r = 1 / (1 + e^2q e^2k). The exponentials are made once per key and once per
    query, which leaves one multiply-add and one reciprocal per (b, t, s, a); tanh takes ten times as long on a CPU.
    The sum of v drops out of the softmax. |q| and |k| are clamped where e^2x would leave the type's normal numbers
    (43 in float32); tanh of their sum is 1 to the last digit long before, unless the two are so large and cancel.
    """

    def __init__(self, memory, bias, contexts, weights, narrow, exp_keys: Tensor, query: Tensor, v: Tensor):
        super().__init__(memory, bias, contexts, weights, narrow, exp_keys, query, v)
        self.exp_keys = exp_keys
        self.query = query
        self.query_twice = 2 * query
        self.v = v
        self.one = v.new_ones(())
        self.slope = -2 * v
        self.room = torch.empty_like(exp_keys)
        self.flat = self.room.flatten(0, 1)
        self.flat_bias = bias.flatten()

    def reciprocals(self, t: int, asker: Asker) -> Tensor:
        """r (B, S, A) of step t, in room that the next call overwrites."""
        query = bounded_exp_(torch.mm(asker.operand, self.query_twice.t()).to(self.v.dtype)).unsqueeze(1)
        return torch.addcmul(self.one, self.exp_keys, query, out=self.room).reciprocal_()

    def energies(self, t: int, asker: Asker) -> Tensor:
        self.reciprocals(t, asker)
        return torch.addmv(self.flat_bias, self.flat, self.slope).view_as(self.bias)

    def start_backward(self, asked: Asker, d_contexts: Tensor, d_weights: Tensor | None) -> None:
        super().start_backward(asked, d_contexts, d_weights)
        self.d_queries = torch.empty(*d_contexts.shape[:2], len(self.v), dtype=self.query.dtype, device=self.v.device)
        self.d_query = self.d_queries.unbind(0)
        self.d_keys = torch.zeros_like(self.exp_keys)
        self.d_v = torch.zeros_like(self.v)
        self.steep = 4 * self.v  # tanh' = 1 - (1 - 2r)^2 = 4 (r - r^2)

    def retreat_energies(self, t: int, d_energies: Tensor, asker: Asker, d_state: Tensor) -> None:
        r = self.reciprocals(t, asker)
        self.d_v.addmv_(self.flat.t(), d_energies.flatten())
        r.addcmul_(r, r, value=-1)
        torch.mul(torch.bmm(d_energies.unsqueeze(1), r).squeeze(1), self.steep, out=self.d_query[t])
        self.d_keys.addcmul_(r, d_energies.unsqueeze(2))
        add_product(d_state, self.d_query[t], self.query)

    def score_gradients(self) -> ScoreGradients:
        # d e / d v = tanh = 1 - 2 r, and the 1 drops out: a row's d_energies sum to zero.
        return ScoreGradients(
            self.d_keys.mul_(self.steep), weight_gradient(self.d_queries, self.asked.operand), self.d_v.mul_(-2)
        )


class CoverageTape(AdditiveTape):
    """e = v . tanh(q + k + c w), where c is the sum of the weights of the steps before.

    What is added to the keys changes at every step, so r = sigmoid(-2 (q + k + c w)) has no exponentials to share.
    """

    def __init__(self, memory, bias, contexts, weights, narrow, keys_twice: Tensor, query, v, cover: Tensor):
        super().__init__(memory, bias, contexts, weights, narrow, keys_twice, query, v)
        self.buffers = (*self.buffers, cover)
        self.keys_twice = keys_twice
        self.cover = cover
        self.cover_twice = 2 * cover
        self.looked = torch.zeros_like(weights[0])

    def advance(self, t: int, asker: Asker) -> None:
        super().advance(t, asker)
        self.looked += self.weights[t]

    def reciprocals(self, t: int, asker: Asker) -> Tensor:
        query = torch.mm(asker.operand, self.query_twice.t()).to(self.v.dtype).unsqueeze(1)
        torch.add(self.keys_twice, query, out=self.room)
        return self.room.addcmul_(self.looked.unsqueeze(2), self.cover_twice).neg_().sigmoid_()

    def start_backward(self, asked: Asker, d_contexts: Tensor, d_weights: Tensor | None) -> None:
        # Every weight is looked at again in all later steps: what they pass back is added as the loop goes.
        d_weights = torch.zeros_like(self.weights) if d_weights is None else d_weights.clone()
        super().start_backward(asked, d_contexts, d_weights)
        self.d_looked = torch.zeros_like(self.looked)
        self.d_cover = torch.zeros_like(self.cover)
        self.steep_cover = self.steep * self.cover
        self.before = self.weights.cumsum(0)

    def retreat(self, t: int, asker: Asker, d_state: Tensor) -> None:
        self.looked = self.before[t - 1] if t else torch.zeros_like(self.looked)
        assert self.d_weights is not None
        self.d_weights[t] += self.d_looked
        super().retreat(t, asker, d_state)

    def retreat_energies(self, t: int, d_energies: Tensor, asker: Asker, d_state: Tensor) -> None:
        super().retreat_energies(t, d_energies, asker, d_state)  # leaves r - r^2 in the room
        self.d_cover.addmv_(self.flat.t(), (self.looked * d_energies).flatten())
        self.d_looked.addcmul_(d_energies, torch.mv(self.flat, self.steep_cover).view_as(d_energies))

    def score_gradients(self) -> ScoreGradients:
        return super().score_gradients()._replace(cover=self.d_cover.mul_(self.steep))


class DotTape(LookTape):
    """e = h . k: dot and, with keys W_a h_s, general; scaled dot comes with its keys scaled."""

    def __init__(self, memory, bias, contexts, weights, narrow, keys: Tensor):
        super().__init__(memory, bias, contexts, weights, narrow, keys)
        self.keys = keys

    def energies(self, t: int, asker: Asker) -> Tensor:
        return torch.baddbmm(self.bias.unsqueeze(1), asker.state.unsqueeze(1), self.keys.mT).squeeze(1)

    def start_backward(self, asked: Asker, d_contexts: Tensor, d_weights: Tensor | None) -> None:
        super().start_backward(asked, d_contexts, d_weights)
        self.d_energies = torch.empty_like(self.weights)

    def retreat_energies(self, t: int, d_energies: Tensor, asker: Asker, d_state: Tensor) -> None:
        self.d_energies[t] = d_energies
        d_state.unsqueeze(1).baddbmm_(d_energies.unsqueeze(1), self.keys)

    def score_gradients(self) -> ScoreGradients:
        keys = torch.bmm(self.d_energies.permute(1, 2, 0), self.asked.state.transpose(0, 1))
        return ScoreGradients(keys)


def record_look(
    memory: Tensor,
    keys: Tensor,
    mask: Tensor,
    query: Tensor | None,
    v: Tensor | None,
    cover: Tensor | None,
    steps: int,
    dtype: torch.dtype,
    wide: torch.dtype,
) -> LookTape:
    """A fresh tape for `steps` looks: additive if its weights query (A, H) and v (A,) are given, with coverage if cover
    (A,) is as well, else dot products."""
    batch, positions, width = memory.shape
    contexts = memory.new_empty(steps, batch, width, dtype=wide)
    weights = memory.new_empty(steps, batch, positions, dtype=wide)
    bias = torch.zeros(batch, positions, dtype=wide, device=memory.device).masked_fill_(~mask, -math.inf)
    narrow = None if dtype == wide else torch.empty_like(contexts, dtype=dtype)
    room = (bias, contexts, weights, narrow)
    if query is None or v is None:
        return DotTape(memory.to(wide), *room, keys.to(wide))
    if cover is not None:
        return CoverageTape(memory.to(wide), *room, 2 * keys.to(wide), query.to(dtype), v.to(wide), cover.to(wide))
    if uses(Kernel.triton, memory, dtype):
        from nmt.model.recurrence import triton_looks  # what it imports is not everywhere

        if positions <= triton_looks.LONGEST:
            operands = memory.to(dtype).contiguous(), keys.to(dtype).contiguous()
            return triton_looks.TritonTape(operands[0], *room, operands[1], query.to(dtype), v.to(wide))
    return AdditiveTape(memory.to(wide), *room, bounded_exp_(2 * keys.to(wide)), query.to(dtype), v.to(wide))
