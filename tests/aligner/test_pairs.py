"""Any number of pairs through an aligner: one result each, in order, whatever the pairs are."""

import math

import numpy as np
import pytest
import torch

from nmt.aligner import Aligner, AlignerOptions, pairs, untrained_vocabulary
from nmt.aligner.pairs import PairAligner
from nmt.corpus import Pair
from nmt.data.tokenizer import ModelType
from tests.support.tokenizers import train_tokenizer

PAIRS = [
    *(Pair("ba do ki", "KI DO BA"), Pair("lu me", "ME LU"), Pair("", ""), Pair("do", ""), Pair("", "KI")),
    *(Pair("ki ba", "ki ba"), Pair("a" * 50, "b" * 60), Pair("\u4e2d\u6587\u53e5\u5b50", "\u6587\u5b57")),
    *(Pair("me lu do ba", "BA DO LU ME"), Pair("  do  ", "\u2028 KI"), Pair("\u0301 .", "! !")),
]


@pytest.fixture(scope="module")
def aligner() -> PairAligner:
    tokenizer = train_tokenizer(PAIRS * 3, vocab_size=290, model_type=ModelType.bpe)
    torch.manual_seed(1)
    sides = untrained_vocabulary(tokenizer.src), untrained_vocabulary(tokenizer.tgt)
    model = Aligner(*sides, AlignerOptions(embedding=8, hidden=8)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    return PairAligner(model, tokenizer)


def test_each_pair_gives_one_result_with_finite_numbers_and_links_between_its_words(aligner):
    found = list(aligner.align(PAIRS))
    assert [each.pair for each in found] == PAIRS
    for each in found:
        sizes = len(each.pair.tgt.split()), len(each.pair.src.split())
        assert (each.forward.shape, each.backward.shape) == (sizes, sizes[::-1])
        assert np.isfinite(each.forward).all()
        assert np.isfinite(each.log_probs).all()
        assert each.forward.sum(1).max(initial=0) < 1.0001
        assert all(src < sizes[1] and tgt < sizes[0] for src, tgt in each.links)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_size_of_a_batch_changes_nothing(aligner, batch_size):
    other = PairAligner(aligner.model, aligner.tokenizer, batch_size=batch_size)
    for one, two in zip(aligner.align(PAIRS), other.align(PAIRS), strict=True):
        np.testing.assert_allclose(one.forward, two.forward, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.backward, two.backward, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.log_probs, two.log_probs, rtol=1e-4)


def test_products_in_bfloat16_change_posteriors_little(aligner):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = list(PairAligner(aligner.model, aligner.tokenizer).align(PAIRS))
    for one, two in zip(aligner.align(PAIRS), coarse, strict=True):
        assert two.forward.dtype == np.float32
        np.testing.assert_allclose(one.forward, two.forward, atol=0.2)


@pytest.mark.parametrize("skip", [0, 1, 4, 7, len(PAIRS)])
def test_what_is_left_after_skipping_is_the_same_to_the_last_bit(aligner, monkeypatch, skip):
    monkeypatch.setattr(pairs, "WINDOW_PAIRS", 4)
    whole = list(aligner.align(PAIRS))
    rest = list(aligner.align(PAIRS, skip=skip))
    assert len(rest) == len(whole) - skip
    for one, two in zip(whole[skip:], rest, strict=True):
        assert (one.links, one.log_probs) == (two.links, two.log_probs)
        np.testing.assert_array_equal(one.forward, two.forward)


def test_a_pair_that_is_too_long_has_no_links_and_the_others_have_theirs(aligner):
    long = Pair("ba " * 10_000, "KI " * 10_000)
    first, found, last = aligner.align([PAIRS[0], long, PAIRS[0]])
    assert found.too_long
    assert found.links == []
    assert found.per_word == (-math.inf, -math.inf)
    assert found.forward.shape == (10_000, 0)
    assert (first.links, first.too_long) == (last.links, False)
