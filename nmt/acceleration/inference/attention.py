"""Additive scores with a multiply-add and a reciprocal, or a sigmoid, instead of a tanh."""

import torch
from torch import Tensor

from nmt.acceleration.inference.linear import PackedLinear
from nmt.acceleration.matmul import bounded_exp_
from nmt.attention.scores import AdditiveAttention, Attention, AttentionState, ConcatAttention, CoverageAttention


class InferenceAdditive(Attention):
    """Keys e^2k (once per sentence) and queries e^2q: tanh(q + k) = 1 - 2 / (1 + e^2q e^2k).

    The energies omit the sum of v, which is the same for all positions; see nmt.acceleration.fused.attention.
    """

    def __init__(self, attention: AdditiveAttention, dtype: torch.dtype):
        super().__init__()
        self.size, self.heads, self.normalizer = attention.size, attention.heads, attention.normalizer
        key, bias = attention.key, attention.key.bias
        self.key = PackedLinear(2 * key.weight, None if bias is None else 2 * bias, dtype)
        self.query = PackedLinear(2 * attention.query.weight, None, dtype)
        self.scaled_v = -2 * attention.v_by_head.detach()
        self.one = self.scaled_v.new_ones(())

    def project_keys(self, memory: Tensor) -> Tensor:
        return bounded_exp_(self.key(memory))

    def project_query(self, hidden: Tensor) -> Tensor:
        return self.activate_query(self.query(hidden))

    def activate_query(self, query: Tensor) -> Tensor:
        """The query for `energies` from the product of `query` with the hidden state, which is overwritten."""
        return bounded_exp_(query)

    def energies(self, query: Tensor, keys: Tensor, state: AttentionState) -> Tensor:
        return torch.addcmul(self.one, query.unsqueeze(2), keys.unsqueeze(1)).reciprocal_() @ self.scaled_v


class InferenceCoverage(InferenceAdditive):
    """With coverage no exponentials can be reused: tanh(z) = 1 - 2 sigmoid(-2 z)."""

    uses_coverage = True

    def __init__(self, attention: AdditiveAttention, dtype: torch.dtype):
        assert isinstance(attention, CoverageAttention), attention
        super().__init__(attention, dtype)
        self.coverage_weight_twice = 2 * attention.coverage_weight.detach()

    def project_keys(self, memory: Tensor) -> Tensor:
        return self.key(memory)

    def activate_query(self, query: Tensor) -> Tensor:
        return query

    def energies(self, query: Tensor, keys: Tensor, state: AttentionState) -> Tensor:
        twice = query.unsqueeze(2) + keys.unsqueeze(1)
        return twice.addcmul_(state.coverage.unsqueeze(3), self.coverage_weight_twice).neg_().sigmoid_() @ self.scaled_v


INFERENCE_SCORES: dict[type[Attention], type[InferenceAdditive]] = {
    AdditiveAttention: InferenceAdditive,
    ConcatAttention: InferenceAdditive,
    CoverageAttention: InferenceCoverage,
}
