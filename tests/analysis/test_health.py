"""The health of attention: by hand, at its extremes, and in parts that add up."""

import math

import numpy as np
import pytest

from nmt.analysis.alignment import WordAttention
from nmt.analysis.health import Tally, health, tally


def attention(rows, eos=None) -> WordAttention:
    weights = np.array(rows, dtype=np.float32)
    return WordAttention(weights, np.array(eos, np.float32) if eos else 1 - weights.sum(1))


def test_each_number_by_hand():
    # Source word 2 is never looked at. The last target word looks back; the third looks mostly at the end.
    looked = attention([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.25, 0.0], [0.75, 0.25, 0.0]])
    found = health(tally([looked]))
    half, quarter = math.log(2), -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert found.entropy == pytest.approx((half + 2 * quarter) / 4)
    assert found.largest == pytest.approx((1 + 0.5 + 0.75 + 0.75) / 4)
    assert found.end == pytest.approx(0.75 / 4)
    assert found.unseen == pytest.approx(1 / 3)
    assert found.overseen == 0
    assert found.forward == 1


def test_a_model_that_looks_at_one_word_only_overlooks_the_others_and_sees_that_one_too_often():
    found = health(tally([attention([[0, 1, 0, 0]] * 4)]))
    assert (found.entropy, found.largest, found.unseen, found.overseen) == (0, 1, 0.75, 0.25)


def test_steps_forward_are_those_that_do_not_go_back():
    assert health(tally([attention(np.eye(5))])).forward == 1
    assert health(tally([attention(np.eye(5)[::-1])])).forward == 0
    assert health(tally([attention(np.eye(4)[[0, 2, 1, 3]])])).forward == pytest.approx(2 / 3)


def test_words_that_look_at_the_end_are_no_step():
    assert health(tally([attention([[0, 1], [0, 0], [1, 0]])])).forward == 0


def test_even_attention_has_the_entropy_of_the_number_of_its_choices():
    assert health(tally([attention(np.full((3, 4), 0.2))])).entropy == pytest.approx(math.log(5))


def test_the_parts_of_a_corpus_add_up():
    draw = np.random.default_rng(1)
    corpus = [attention(draw.dirichlet(np.ones(n + 1), size=n + 2)[:, :n]) for n in range(1, 8)]
    parts = tally(corpus[:3]), tally(corpus[3:])
    together = Tally(*(a + b for a, b in zip(*parts, strict=True)))
    assert health(together) == pytest.approx(health(tally(corpus)))


def test_sentences_without_words_change_nothing():
    whole, empty = attention([[1.0]]), WordAttention(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    assert tally([empty, whole, empty]) == tally([whole])
    assert tally([empty]) == Tally()
