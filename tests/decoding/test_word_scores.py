"""The log-probability of each word, of what search found and of what was given."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nmt.corpus import Pair
from nmt.data.symbols import BOS
from nmt.decoding.ensemble import Ensemble, EnsembleAverage
from nmt.decoding.forced import force_decode
from nmt.decoding.search import SearchOptions
from nmt.decoding.translator import Translator
from nmt.decoding.word_scores import word_log_probs

LINES = ["ab cd e", "e", "", "cd cd ab e cd"]


@pytest.fixture
def model(tiny):
    return tiny.model().eval()


def test_words_and_the_end_of_sentence_sum_to_the_score_of_search(tiny, model):
    translator = Translator(model, tiny.tokenizer, SearchOptions(beam=3, nbest=3, max_length=6))
    found = [each for nbest in translator.translate(LINES) for each in nbest]
    assert any(each.tgt_words for each in found)
    for each, scores in zip(found, word_log_probs(model, tiny.tokenizer, found), strict=True):
        assert len(scores) == len(each.tgt_words)
        assert (scores <= 0).all()
        assert scores.sum() >= each.log_prob - 1e-4
        if each.tgt_pieces and -1 not in each.tgt_word_of:  # not finished, so that each piece is of a word
            assert scores.sum() == pytest.approx(each.log_prob, abs=1e-4)


def test_a_batch_of_many_is_many_of_one(tiny, model):
    forced = list(force_decode(model, tiny.tokenizer, [Pair(line, line[::-1]) for line in LINES]))
    together = word_log_probs(model, tiny.tokenizer, forced, batch_size=2)
    for each, scores in zip(forced, together, strict=True):
        np.testing.assert_allclose(scores, word_log_probs(model, tiny.tokenizer, [each])[0], atol=1e-5)


def test_a_word_is_as_probable_as_its_pieces(tiny, model):
    whole, shorter = force_decode(model, tiny.tokenizer, [Pair("ab cd", "dc ba"), Pair("ab cd", "dc")])
    scores = word_log_probs(model, tiny.tokenizer, [whole, shorter])
    # The first word depends on nothing that comes after it.
    assert scores[0][0] == pytest.approx(scores[1][0], abs=1e-5)
    end = whole.log_prob - scores[0].sum()
    assert end < 0


def test_a_probability_that_was_rounded_up_is_one(tiny, model, monkeypatch):
    (pair,) = force_decode(model, tiny.tokenizer, [Pair("ab cd", "dc ba")])
    scores = SimpleNamespace(log_probs=torch.full((1, len(pair.tgt_pieces)), 1e-7))
    monkeypatch.setattr(model, "log_probs", lambda *_: scores)
    assert word_log_probs(model, tiny.tokenizer, [pair])[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("average", EnsembleAverage)
def test_a_temperature_divides_the_logits_of_each_model(tiny, model, average):
    (pair,) = force_decode(model, tiny.tokenizer, [Pair("ab cd", "dc ba")])
    src, tgt = (
        [vocabulary.vocabulary.index(piece) for piece in pieces]
        for vocabulary, pieces in ((tiny.tokenizer.src, pair.src_pieces), (tiny.tokenizer.tgt, pair.tgt_pieces))
    )
    with torch.inference_mode():
        logits, _ = model(torch.tensor([src]), torch.tensor([len(src)]), torch.tensor([[BOS, *tgt[:-1]]]))
    of_pieces = (logits[0] / 1.7).log_softmax(-1)[range(len(tgt)), tgt].double().numpy()
    expected = np.bincount(pair.tgt_word_of[:-1], of_pieces[:-1])
    for each in (model, Ensemble([model, model], average).eval()):
        (found,) = word_log_probs(each, tiny.tokenizer, [pair], temperature=1.7)
        np.testing.assert_allclose(found, expected, atol=1e-5)
