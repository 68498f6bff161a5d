"""Forced decoding's promises: order, the model's own numbers, no more work and memory than asked for."""

import math
import random

import numpy as np
import pytest
import torch

from nmt.corpus import Pair
from nmt.data.batches import Batch
from nmt.data.symbols import BOS, EOS
from nmt.decoding.forced import force_decode
from tests.support.models import SmallModel

PIECES = 20


class Side:
    """Pieces of two characters; sixteen ids of text."""

    def encode_words(self, text):
        pieces = [(word[at : at + 2], n) for n, word in enumerate(text.split()) for at in range(0, len(word), 2)]
        return [4 + sum(map(ord, piece)) % 16 for piece, _ in pieces], [number for _, number in pieces]

    def pieces(self, ids):
        return [f"p{token}" for token in ids]


class Both:
    src = tgt = Side()


@pytest.fixture(scope="module")
def model():
    sizes = SmallModel(vocab_size=PIECES, embedding=6, hidden=8, memory=8, readout=6, attention_size=5, dropout=0.3)
    return sizes.build().eval()


def some_pairs(number=70):
    draw = random.Random(4)
    words = ["aa", "bcd", "e", "fghij", "klmnopq"]
    line = lambda: " ".join(draw.choices(words, k=draw.choice([0, 1, 2, 5, 9])))  # noqa: E731
    return [Pair(line(), line()) for _ in range(number)]


def assert_same(these, those):
    for one, other in zip(these, those, strict=True):
        assert (one.text, one.src_words, one.tgt_pieces) == (other.text, other.src_words, other.tgt_pieces)
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-4)
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-5)


def test_order_is_kept_whatever_the_lengths(model):
    pairs = some_pairs()
    found = list(force_decode(model, Both(), iter(pairs), batch_size=5))
    assert [(" ".join(each.src_words), each.text) for each in found] == pairs


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_the_size_of_a_batch_changes_nothing(model, batch_size):
    pairs = some_pairs()
    assert_same(force_decode(model, Both(), pairs, batch_size=batch_size), force_decode(model, Both(), pairs))


@pytest.mark.parametrize(
    ("name", "value"),
    [("decoding.batching.WINDOW_WEIGHTS", 700), ("decoding.batching.BATCH_PIECES", 30), ("model.seq2seq.CHUNK", 3)],
)
def test_the_bounds_of_memory_change_nothing(model, monkeypatch, name, value):
    pairs = some_pairs(30)
    before = list(force_decode(model, Both(), pairs))
    monkeypatch.setattr(f"nmt.{name}", value)
    assert_same(force_decode(model, Both(), pairs), before)


def test_log_probabilities_and_weights_are_those_of_the_model(model):
    pair = Pair("bcd fghij", "aa klmnopq e")
    (found,) = force_decode(model, Both(), [pair])
    src = [*Side().encode_words(pair.src)[0], EOS]
    tgt = Side().encode_words(pair.tgt)[0]
    batch = torch.tensor([src]), torch.tensor([len(src)]), torch.tensor([[BOS, *tgt]])
    assert found.log_prob == pytest.approx(
        -float(model.loss(Batch.of(*batch, torch.tensor([[*tgt, EOS]]))).nll), abs=1e-5
    )
    assert found.score == pytest.approx(found.log_prob / (len(tgt) + 1))
    np.testing.assert_allclose(found.weights, model(*batch)[1][0].detach(), atol=1e-6)


def test_where_no_score_is_asked_for_the_vocabulary_is_left_alone(model, monkeypatch):
    pairs = some_pairs(20)
    before = list(force_decode(model, Both(), pairs))
    monkeypatch.setattr(model, "logits", lambda features: pytest.fail("products with the vocabulary"))
    for one, other in zip(force_decode(model, Both(), pairs, score=False), before, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
        assert math.isnan(one.log_prob) or not other.tgt_pieces


def test_a_pair_without_words_is_an_empty_translation_and_half_a_pair_is_not(model):
    both, no_tgt, no_src = force_decode(model, Both(), [Pair("", " "), Pair("aa e", ""), Pair("", "aa e")])
    assert (both.log_prob, both.tgt_pieces, both.weights.shape) == (0.0, [], (0, 0))
    assert (no_tgt.weights.shape, no_src.weights.shape) == ((1, 3), (3, 1))
    assert no_tgt.log_prob < 0
    assert no_src.log_prob < 0


def test_a_pair_that_would_not_fit_into_memory_comes_without_weights_and_the_others_with_theirs(model, monkeypatch):
    long, short = Pair("aa bcd " * 30, "e aa " * 20), Pair("aa e", "bcd")
    (expected,) = force_decode(model, Both(), [long])
    monkeypatch.setattr("nmt.decoding.batching.WINDOW_WEIGHTS", 100)
    first, second, third = force_decode(model, Both(), [short, long, short])
    assert (second.weights.shape, second.tgt_words) == ((41, 0), long.tgt.split())
    assert second.log_prob == pytest.approx(expected.log_prob, rel=1e-5)
    assert second.score == pytest.approx(expected.score, rel=1e-5)
    assert math.isnan(list(force_decode(model, Both(), [short, long, short], score=False))[1].log_prob)
    assert_same([first], [third])
    assert first.weights.shape == (3, 3)


def test_pairs_are_read_only_a_window_ahead(model):
    pairs, read = some_pairs(200), []
    stream = force_decode(model, Both(), (read.append(pair) or pair for pair in pairs), batch_size=1)
    next(stream)
    assert len(read) == 32


# Had it known the word


def test_the_posterior_is_prior_times_likelihood_by_hand(model):
    pair = Pair("bcd fghij", "aa e")
    (prior,) = force_decode(model, Both(), [pair])
    (found,) = force_decode(model, Both(), [pair], posterior=True)
    src = torch.tensor([[*Side().encode_words(pair.src)[0], EOS]])
    tgt = [*Side().encode_words(pair.tgt)[0], EOS]
    source, state = model.encode(src, torch.tensor([src.shape[1]]))
    for t, (fed, word) in enumerate(zip([BOS, *tgt], tgt, strict=False)):
        joint = []
        for j in range(src.shape[1]):
            top, embedded = state.layers[-1], model.decoder.embedding(torch.tensor([fed]))
            features = model.decoder.readout(top, model.decoder.readout.word(embedded), source.memory[:, j])
            joint.append(prior.weights[t, j] * float(model.logits(features).softmax(-1)[0, word].detach()))
        np.testing.assert_allclose(found.weights[t], np.array(joint) / sum(joint), rtol=1e-4)
        _, state, _ = model.step(torch.tensor([fed]), state, source)


def test_the_posterior_does_not_depend_on_the_batch_and_leaves_scores_alone(model):
    pairs = some_pairs(25)
    together = list(force_decode(model, Both(), pairs, posterior=True))
    assert_same(force_decode(model, Both(), pairs, posterior=True, batch_size=1), together)
    for one, other in zip(together, force_decode(model, Both(), pairs), strict=True):
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-5)
        if one.weights.size:
            np.testing.assert_allclose(one.weights.sum(1), 1, atol=1e-5)
