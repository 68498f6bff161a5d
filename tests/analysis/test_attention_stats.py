"""The health of attention: by hand, at its extremes, and in parts that add up."""

import math

import numpy as np
import pytest

from nmt.analysis.alignment import WordAttention
from nmt.analysis.attention_stats import AttentionSums, attention_stats, attention_sums


def attention(rows, eos=None) -> WordAttention:
    weights = np.array(rows, dtype=np.float32)
    return WordAttention(weights, np.array(eos, np.float32) if eos else 1 - weights.sum(1))


def test_each_number_by_hand():
    # Source word 2 is never attended to. The last target word attends backwards; the third mostly to the end.
    attended = attention([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.25, 0.0], [0.75, 0.25, 0.0]])
    found = attention_stats(attention_sums([attended]))
    half, quarter = math.log(2), -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert found.entropy == pytest.approx((half + 2 * quarter) / 4)
    assert found.max_weight == pytest.approx((1 + 0.5 + 0.75 + 0.75) / 4)
    assert found.eos_mass == pytest.approx(0.75 / 4)
    assert found.uncovered == pytest.approx(1 / 3)
    assert found.over_attended == 0
    assert found.forward == 1


def test_a_model_that_attends_to_one_word_only_leaves_the_others_uncovered():
    found = attention_stats(attention_sums([attention([[0, 1, 0, 0]] * 4)]))
    assert (found.entropy, found.max_weight, found.uncovered, found.over_attended) == (0, 1, 0.75, 0.25)


def test_steps_forward_are_those_that_do_not_go_back():
    assert attention_stats(attention_sums([attention(np.eye(5))])).forward == 1
    assert attention_stats(attention_sums([attention(np.eye(5)[::-1])])).forward == 0
    assert attention_stats(attention_sums([attention(np.eye(4)[[0, 2, 1, 3]])])).forward == pytest.approx(2 / 3)


def test_words_that_look_at_the_end_are_no_step():
    assert attention_stats(attention_sums([attention([[0, 1], [0, 0], [1, 0]])])).forward == 0


def test_even_attention_has_the_entropy_of_the_number_of_its_choices():
    assert attention_stats(attention_sums([attention(np.full((3, 4), 0.2))])).entropy == pytest.approx(math.log(5))


def test_the_parts_of_a_corpus_add_up():
    draw = np.random.default_rng(1)
    corpus = [attention(draw.dirichlet(np.ones(n + 1), size=n + 2)[:, :n]) for n in range(1, 8)]
    parts = attention_sums(corpus[:3]), attention_sums(corpus[3:])
    together = AttentionSums(*(a + b for a, b in zip(*parts, strict=True)))
    assert attention_stats(together) == pytest.approx(attention_stats(attention_sums(corpus)))


def test_sentences_without_words_change_nothing():
    whole, empty = attention([[1.0]]), WordAttention(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    assert attention_sums([empty, whole, empty]) == attention_sums([whole])
    assert attention_sums([empty]) == AttentionSums()
