"""Fused attention, with a hand-written backward: the equations of ``nmt.attention.scores`` and their derivatives.

``forward_step(t, query)`` fills contexts[t] and weights[t]; ``backward_step(t, ...)`` adds to the query's gradient.
Energies are recomputed instead of stored, so memory grows with B T S and not with B T S A.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from nmt.acceleration.matmul import addmm_, bounded_exp_, weight_gradient
from nmt.attention.normalizers import Normalizer, entmax, entmax_backward, sparsemax, sparsemax_backward


class Query(NamedTuple):
    """A query (B, H), in the type of states and in the type of products."""

    state: Tensor
    matmul_input: Tensor


class ScoreGradients(NamedTuple):
    """The gradients of keys (B, S, A); of an additive score's weights query (A, H) and v (A,); of coverage_weight (A,)
    with coverage."""

    keys: Tensor
    query: Tensor | None = None
    v: Tensor | None = None
    coverage_weight: Tensor | None = None


class Workspace(NamedTuple):
    """The inputs and outputs of attention for all scores. All in float32 or wider, except `low_precision`
    and, with Triton's kernels, the memory.

    memory (B, S, M); bias (B, S): 0 on real tokens and -inf on padding
    contexts (T, B, M), weights (T, B, S): filled step by step, the weights by `normalizer`
    low_precision (T, B, M): the contexts in the type of products if that is narrower, else None
    """

    memory: Tensor
    bias: Tensor
    contexts: Tensor
    weights: Tensor
    low_precision: Tensor | None


class FusedAttention:
    """Attention over one batch. score_buffers: the tensors of the score. As in cells, `buffers` are the whole state,
    except for the normalizer."""

    normalizer = Normalizer.softmax

    def __init__(self, workspace: Workspace, *score_buffers: Tensor):
        self.buffers = (*workspace, *score_buffers)
        self.memory, self.bias, self.contexts, self.weights, self.low_precision = workspace
        self.context = self.contexts.unsqueeze(2).unbind(0)  # (B, 1, M) each
        self.weight = self.weights.unsqueeze(2).unbind(0)  # (B, 1, S) each
        self.matmul_inputs = self.contexts if self.low_precision is None else self.low_precision
        self.matmul_input = self.matmul_inputs.unbind(0)

    @classmethod
    def from_buffers(cls, normalizer: Normalizer, *buffers) -> "FusedAttention":
        """The attention with these `buffers`, which autograd saves for the backward."""
        fields = len(Workspace._fields)
        attention = cls(Workspace(*buffers[:fields]), *buffers[fields:])
        attention.normalizer = normalizer
        return attention

    def forward_step(self, t: int, query: Query) -> None:
        """Computes contexts[t] and weights[t] for this query."""
        _normalize(self.normalizer, self.energies(t, query), self.weight[t].squeeze(1))
        torch.bmm(self.weight[t], self.memory, out=self.context[t])
        if self.low_precision is not None:
            self.matmul_input[t].copy_(self.context[t].squeeze(1))

    def forward_steps(self, all_queries: Query) -> None:
        """`forward_step` for all steps: all_queries (T, B, H)."""
        for t in range(len(all_queries.state)):
            self.forward_step(t, Query(all_queries.state[t], all_queries.matmul_input[t]))

    def energies(self, t: int, query: Query) -> Tensor:
        """The energies (B, S) of step t, -inf on padding, up to a constant for each row."""
        raise NotImplementedError

    def start_backward(self, all_queries: Query, d_contexts: Tensor, d_weights: Tensor | None) -> None:
        """all_queries: the queries of all steps, (T, B, H); d_contexts (T, B, M): the gradient of the contexts as
        outputs, to which the loop adds the rest."""
        self.all_queries = all_queries
        self.d_contexts = d_contexts
        self.d_context = d_contexts.unbind(0)
        self.d_weights = d_weights

    def backward_step(self, t: int, query: Query, d_state: Tensor) -> None:
        """Adds the part of step t to d_state (B, H), the gradient of the query; d_contexts[t] must be complete."""
        weight = self.weight[t].squeeze(1)
        # A row times a matrix, not a matrix times a column, which takes torch ten times as long on a CPU.
        d_weight = torch.bmm(self.d_context[t].unsqueeze(1), self.memory.mT).squeeze(1)
        if self.d_weights is not None:
            d_weight += self.d_weights[t]
        self.backward_energies(t, _normalize_backward(self.normalizer, weight, d_weight), query, d_state)

    def backward_steps(self, d_states: Tensor) -> None:
        """`backward_step` for all steps: d_states (T, B, H)."""
        for t in reversed(range(len(d_states))):
            self.backward_step(t, Query(self.all_queries.state[t], self.all_queries.matmul_input[t]), d_states[t])

    def backward_energies(self, t: int, d_energies: Tensor, query: Query, d_state: Tensor) -> None:
        """d_energies (B, S): adds to d_state, and stores what the gradient of the keys needs."""
        raise NotImplementedError

    def score_gradients(self) -> ScoreGradients:
        """The gradients of the score, after the backward loop."""
        raise NotImplementedError

    def memory_gradient(self) -> Tensor:
        """The gradient (B, S, M): for each sentence the product of its weights and the gradients of its contexts."""
        return torch.bmm(self.weights.permute(1, 2, 0), self.d_contexts.transpose(0, 1))


def _normalize(normalizer: Normalizer, energies: Tensor, weights: Tensor) -> None:
    """energies (B, S), -inf on padding -> weights (B, S), in place."""
    match normalizer:
        case Normalizer.softmax:
            torch.softmax(energies, -1, out=weights)
        case Normalizer.sparsemax:
            weights.copy_(sparsemax(energies))
        case Normalizer.entmax:
            weights.copy_(entmax(energies))
        case _:
            raise ValueError(normalizer)


def _normalize_backward(normalizer: Normalizer, weights: Tensor, d_weights: Tensor) -> Tensor:
    """weights, d_weights (B, S) -> d_energies (B, S), whose rows sum to zero; may overwrite d_weights."""
    match normalizer:
        case Normalizer.softmax:
            # alpha * (d - sum alpha d), in this order: the d have a large common part, and the difference should not be
            # lost in the rounding of alpha * d. On padding alpha is 0, and so is the gradient.
            return d_weights.sub_((weights * d_weights).sum(1, keepdim=True)).mul_(weights)
        case Normalizer.sparsemax:
            return sparsemax_backward(weights, d_weights)
        case Normalizer.entmax:
            return entmax_backward(weights, d_weights)
        case _:
            raise ValueError(normalizer)


class FusedAdditive(FusedAttention):
    """e = v . tanh(q + k), with q = W_a s.

    With exponentials: tanh(q + k) = 1 - 2 r with r = 1 / (1 + e^2q e^2k). The exponentials are computed once for each
    key and once for each query; what remains is one multiply-add and one reciprocal per (b, t, s, a); tanh takes ten
    times as long on a CPU. The sum of v cancels in the softmax. |q| and |k| are clamped where e^2x would leave the
    normal numbers of the type (43 in float32); tanh of their sum is then 1 to the last digit, unless both are that
    large and cancel.
    """

    def __init__(self, workspace: Workspace, exp_keys: Tensor, query: Tensor, v: Tensor):
        super().__init__(workspace, exp_keys, query, v)
        self.exp_keys = exp_keys
        self.query = query
        self.query_twice = 2 * query
        self.v = v
        self.one = v.new_ones(())
        self.scaled_v = -2 * v
        self.terms = torch.empty_like(exp_keys)
        self.flat = self.terms.flatten(0, 1)
        self.flat_bias = self.bias.flatten()

    def reciprocals(self, t: int, query: Query) -> Tensor:
        """r (B, S, A) of step t, in memory that the next call overwrites."""
        projected = bounded_exp_(torch.mm(query.matmul_input, self.query_twice.t()).to(self.v.dtype)).unsqueeze(1)
        return torch.addcmul(self.one, self.exp_keys, projected, out=self.terms).reciprocal_()

    def energies(self, t: int, query: Query) -> Tensor:
        self.reciprocals(t, query)
        return torch.addmv(self.flat_bias, self.flat, self.scaled_v).view_as(self.bias)

    def start_backward(self, all_queries: Query, d_contexts: Tensor, d_weights: Tensor | None) -> None:
        super().start_backward(all_queries, d_contexts, d_weights)
        self.d_queries = torch.empty(*d_contexts.shape[:2], len(self.v), dtype=self.query.dtype, device=self.v.device)
        self.d_query = self.d_queries.unbind(0)
        self.d_keys = torch.zeros_like(self.exp_keys)
        self.d_v = torch.zeros_like(self.v)
        self.steep = 4 * self.v  # tanh' = 1 - (1 - 2r)^2 = 4 (r - r^2)

    def backward_energies(self, t: int, d_energies: Tensor, query: Query, d_state: Tensor) -> None:
        r = self.reciprocals(t, query)
        self.d_v.addmv_(self.flat.t(), d_energies.flatten())
        r.addcmul_(r, r, value=-1)
        torch.mul(torch.bmm(d_energies.unsqueeze(1), r).squeeze(1), self.steep, out=self.d_query[t])
        self.d_keys.addcmul_(r, d_energies.unsqueeze(2))
        addmm_(d_state, self.d_query[t], self.query)

    def score_gradients(self) -> ScoreGradients:
        # d e / d v = tanh = 1 - 2 r, and the 1 cancels: the d_energies of a row sum to zero.
        return ScoreGradients(
            self.d_keys.mul_(self.steep),
            weight_gradient(self.d_queries, self.all_queries.matmul_input),
            self.d_v.mul_(-2),
        )


class FusedCoverage(FusedAdditive):
    """e = v . tanh(q + k + c w), where c is the sum of the weights of earlier steps.

    The term c w changes at every step, so r = sigmoid(-2 (q + k + c w)) has no exponentials to reuse.
    """

    def __init__(self, workspace: Workspace, keys_twice: Tensor, query: Tensor, v: Tensor, coverage_weight: Tensor):
        super().__init__(workspace, keys_twice, query, v)
        self.buffers = (*self.buffers, coverage_weight)
        self.keys_twice = keys_twice
        self.coverage_weight = coverage_weight
        self.coverage_weight_twice = 2 * coverage_weight
        self.coverage = torch.zeros_like(self.weights[0])

    def forward_step(self, t: int, query: Query) -> None:
        super().forward_step(t, query)
        self.coverage += self.weights[t]

    def reciprocals(self, t: int, query: Query) -> Tensor:
        projected = torch.mm(query.matmul_input, self.query_twice.t()).to(self.v.dtype).unsqueeze(1)
        torch.add(self.keys_twice, projected, out=self.terms)
        return self.terms.addcmul_(self.coverage.unsqueeze(2), self.coverage_weight_twice).neg_().sigmoid_()

    def start_backward(self, all_queries: Query, d_contexts: Tensor, d_weights: Tensor | None) -> None:
        # Through coverage every weight affects all later steps; the loop adds their gradients.
        d_weights = torch.zeros_like(self.weights) if d_weights is None else d_weights.clone()
        super().start_backward(all_queries, d_contexts, d_weights)
        self.d_coverage = torch.zeros_like(self.coverage)
        self.d_coverage_weight = torch.zeros_like(self.coverage_weight)
        self.steep_coverage_weight = self.steep * self.coverage_weight
        self.coverage_before = self.weights.cumsum(0)

    def backward_step(self, t: int, query: Query, d_state: Tensor) -> None:
        self.coverage = self.coverage_before[t - 1] if t else torch.zeros_like(self.coverage)
        assert self.d_weights is not None
        self.d_weights[t] += self.d_coverage
        super().backward_step(t, query, d_state)

    def backward_energies(self, t: int, d_energies: Tensor, query: Query, d_state: Tensor) -> None:
        super().backward_energies(t, d_energies, query, d_state)  # leaves r - r^2 in `terms`
        self.d_coverage_weight.addmv_(self.flat.t(), (self.coverage * d_energies).flatten())
        self.d_coverage.addcmul_(d_energies, torch.mv(self.flat, self.steep_coverage_weight).view_as(d_energies))

    def score_gradients(self) -> ScoreGradients:
        return super().score_gradients()._replace(coverage_weight=self.d_coverage_weight.mul_(self.steep))


class FusedDot(FusedAttention):
    """e = h . k: dot, general with keys W_a h_s, and scaled dot with scaled keys."""

    def __init__(self, workspace: Workspace, keys: Tensor):
        super().__init__(workspace, keys)
        self.keys = keys

    def energies(self, t: int, query: Query) -> Tensor:
        return torch.baddbmm(self.bias.unsqueeze(1), query.state.unsqueeze(1), self.keys.mT).squeeze(1)

    def start_backward(self, all_queries: Query, d_contexts: Tensor, d_weights: Tensor | None) -> None:
        super().start_backward(all_queries, d_contexts, d_weights)
        self.d_energies = torch.empty_like(self.weights)

    def backward_energies(self, t: int, d_energies: Tensor, query: Query, d_state: Tensor) -> None:
        self.d_energies[t] = d_energies
        d_state.unsqueeze(1).baddbmm_(d_energies.unsqueeze(1), self.keys)

    def score_gradients(self) -> ScoreGradients:
        keys = torch.bmm(self.d_energies.permute(1, 2, 0), self.all_queries.state.transpose(0, 1))
        return ScoreGradients(keys)
