import math

import pytest
import torch

from nmt.attention.normalizers import masked_softmax
from nmt.attention.scores import (
    AttentionState,
    ConcatAttention,
    DotAttention,
    GeneralAttention,
    ScaledDotAttention,
    ScoreFunction,
    Source,
    additive_energies,
    build_attention,
    coverage_energies,
    dot_energies,
)

QUERY = torch.tensor([[[1.0, 2.0]]])
KEYS = torch.tensor([[[0.5, -1.0], [2.0, 3.0]]])
NO_STATE = AttentionState(torch.zeros(1, 1, 0), torch.zeros(1, 1, 0))  # of scores that carry nothing


def test_additive_energies_are_v_times_tanh_of_query_plus_key():
    energies = additive_energies(QUERY, KEYS, torch.tensor([3.0, -1.0]))
    by_hand = [3 * math.tanh(1.5) - math.tanh(1.0), 3 * math.tanh(3.0) - math.tanh(5.0)]
    torch.testing.assert_close(energies, torch.tensor([[by_hand]]))


def test_coverage_adds_what_was_attended_to_times_a_vector():
    coverage, coverage_weight = torch.tensor([[[0.0, 0.75]]]), torch.tensor([-2.0, 4.0])
    energies = coverage_energies(QUERY, KEYS, coverage, coverage_weight, torch.tensor([3.0, -1.0]))
    by_hand = [3 * math.tanh(1.5) - math.tanh(1.0), 3 * math.tanh(3.0 - 1.5) - math.tanh(5.0 + 3.0)]
    torch.testing.assert_close(energies, torch.tensor([[by_hand]]))


def test_dot_energies_are_inner_products():
    torch.testing.assert_close(dot_energies(QUERY, KEYS), torch.tensor([[[-1.5, 8.0]]]))


def test_scaled_dot_divides_by_the_root_of_the_width():
    attention = ScaledDotAttention(2, 2)
    energies = attention.energies(attention.project_query(QUERY), KEYS, NO_STATE)
    torch.testing.assert_close(energies, torch.tensor([[[-1.5, 8.0]]]) / math.sqrt(2))


def test_general_multiplies_the_query_with_a_matrix_times_the_memory():
    attention = GeneralAttention(2, 3)
    memory = torch.randn(1, 4, 3)
    energies = attention.energies(attention.project_query(QUERY), attention.project_keys(memory), NO_STATE)
    by_hand = torch.stack([QUERY[0, 0] @ attention.key.weight @ memory[0, s] for s in range(4)])
    torch.testing.assert_close(energies[0, 0], by_hand)


def test_concat_is_one_matrix_over_query_and_memory():
    attention = ConcatAttention(2, 3, 5)
    memory = torch.randn(1, 4, 3)
    energies = attention.energies(attention.project_query(QUERY), attention.project_keys(memory), NO_STATE)
    joined = torch.cat((attention.query.weight, attention.key.weight), 1)
    by_hand = torch.stack([attention.v @ torch.tanh(joined @ torch.cat((QUERY[0, 0], row))) for row in memory[0]])
    torch.testing.assert_close(energies[0, 0], by_hand)


def test_weights_sum_to_one_and_padding_gets_exactly_zero():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    weights = masked_softmax(torch.randn(2, 4, 3, dtype=torch.float64) * 30, mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, dtype=torch.float64))
    assert (weights[0, :, 2] == 0).all()
    assert (weights[1, :, 0] == 1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_masked_softmax_is_safe_and_float32_in_half_precision(dtype):
    energies = torch.tensor([[[6e4, -6e4, 6e4], [0.0, 1.0, 2.0]]]).to(dtype)
    weights = masked_softmax(energies, torch.tensor([[True, True, False]]))
    assert weights.dtype is torch.float32
    assert weights.isfinite().all()
    assert (weights[:, :, 2] == 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2))


@pytest.mark.parametrize("score", ScoreFunction)
def test_a_context_is_the_weighted_memory(score):
    attention = build_attention(score, 4, 4, 6).double()
    memory = torch.randn(2, 3, 4, dtype=torch.float64)
    source = Source(memory, attention.project_keys(memory), torch.tensor([[True] * 3, [True, True, False]]))
    state = AttentionState(*(field.unsqueeze(1).expand(-1, 5, -1) for field in attention.initial_state(memory)))
    attended = attention(torch.randn(2, 5, 4, dtype=torch.float64), source, state)
    torch.testing.assert_close(attended.context, torch.einsum("bqs,bsm->bqm", attended.weights, memory))


def test_many_queries_at_once_are_as_many_steps():
    attention = build_attention(ScoreFunction.additive, 4, 4, 6).double()
    memory, queries = torch.randn(1, 3, 4, dtype=torch.float64), torch.randn(1, 5, 4, dtype=torch.float64)
    source = Source(memory, attention.project_keys(memory), torch.ones(1, 3, dtype=torch.bool))
    together = attention(queries, source, NO_STATE).weights
    alone = torch.cat([attention(queries[:, [q]], source, NO_STATE).weights for q in range(5)], 1)
    torch.testing.assert_close(together, alone)


def test_dot_between_different_widths_says_what_to_set():
    with pytest.raises(ValueError, match=r"model\.decoder\.hidden=6, or use model\.attention\.score=general") as error:
        DotAttention(4, 6)
    assert "\n" not in str(error.value)


def test_an_unknown_score_lists_the_legal_ones():
    with pytest.raises(ValueError, match="additive, dot, scaled_dot, general, concat, coverage, location, gaussian"):
        build_attention("cosine", 4, 4, 4)  # type: ignore[arg-type]
