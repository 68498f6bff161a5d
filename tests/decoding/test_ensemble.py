"""An ensemble: the mean of its models, in search and in forced decoding."""

import math

import pytest
import torch

from nmt.data.batches import Batch
from nmt.data.symbols import BOS, EOS
from nmt.decoding.ensemble import Ensemble, EnsembleAverage, average_logits, average_weights
from nmt.decoding.forced import log_probs_by_steps
from nmt.decoding.options import SearchOptions
from nmt.decoding.search import beam_search
from tests.decoding.test_search import assert_same, rescored, sentences
from tests.support.models import draw_weights, make_model

OPTIONS = SearchOptions(beam=4, nbest=3, max_length=9)


def member(seed, decoder="bahdanau", **sizes):
    return draw_weights(make_model(decoder, seed=seed, vocab_size=9, **sizes), std=0.7)


def search(model, src, lengths):
    return beam_search(model.for_inference(), src, lengths, OPTIONS)


def test_probabilities_are_averaged():
    logits = [torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.1, 0.1, 0.8]]).log() + 7]
    found = average_logits(logits, EnsembleAverage.probabilities).exp()
    assert found.tolist()[0] == pytest.approx([0.3, 0.175, 0.525])


def test_log_probabilities_are_averaged_and_normalized():
    logits = [torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.1, 0.1, 0.8]]).log() + 7]
    roots = [math.sqrt(0.05), math.sqrt(0.025), math.sqrt(0.2)]
    found = average_logits(logits, EnsembleAverage.log_probabilities).exp()
    assert found.tolist()[0] == pytest.approx([root / sum(roots) for root in roots])


def test_attention_is_the_mean_of_those_that_have_it():
    one, other, none = torch.tensor([[0.2, 0.8]]), torch.tensor([[0.6, 0.4]]), torch.zeros(1, 0)
    assert average_weights([one, none, other]).tolist()[0] == pytest.approx([0.4, 0.6])
    assert average_weights([none, one]) is one
    assert average_weights([none, none]).shape == (1, 0)


def test_an_ensemble_of_one_is_the_model_to_the_bit():
    model, (src, lengths) = member(1), sentences()
    for mine, alone in zip(search(Ensemble([model]), src, lengths), search(model, src, lengths), strict=True):
        assert [(each.ids, each.score) for each in mine] == [(each.ids, each.score) for each in alone]
        assert all((one.weights == other.weights).all() for one, other in zip(mine, alone, strict=True))
    tgt_in = torch.tensor([[BOS, 5, 6]] * len(src))
    for mine, alone in zip(Ensemble([model]).features(src, lengths, tgt_in), model.features(src, lengths, tgt_in)):  # noqa: B905
        assert torch.equal(mine, alone)


@pytest.mark.parametrize("average", EnsembleAverage)
def test_an_ensemble_of_two_equal_models_is_the_model(average):
    model, (src, lengths) = member(1), sentences()
    assert_same(search(Ensemble([model, model], average), src, lengths), search(model, src, lengths))


@pytest.mark.parametrize("average", EnsembleAverage)
def test_a_batch_of_many_is_many_batches_of_one(average):
    model = Ensemble([member(1), member(2, "luong", hidden=6), member(3, "fixed")], average).eval()
    src, lengths = sentences()
    together = search(model, src, lengths)
    for row, length in enumerate(lengths.tolist()):
        assert_same([together[row]], search(model, src[row : row + 1, :length], lengths[row : row + 1]))


@pytest.mark.slow
@pytest.mark.parametrize("average", EnsembleAverage)
def test_the_score_of_search_is_that_of_forced_decoding(average):
    model = Ensemble([member(1), member(2, "luong", hidden=6), member(3, "fixed")], average).eval()
    src, lengths = sentences()
    for row, best in enumerate(search(model, src, lengths)):
        for each in best:
            log_prob, _ = rescored(model, src[row], lengths[row], each.ids)
            assert each.log_prob == pytest.approx(log_prob, abs=1e-6)
            one, tgt_out = src[row : row + 1, : lengths[row]], torch.tensor([each.ids])
            tgt_in = torch.tensor([[BOS, *each.ids[:-1]]])
            assert float(log_probs_by_steps(model, one, tgt_in, tgt_out)) == pytest.approx(log_prob, abs=1e-5)
            loss = model.loss(Batch.of(one, lengths[row : row + 1], tgt_in, tgt_out))
            assert -float(loss.nll) == pytest.approx(log_prob, abs=1e-5)
            assert loss.tokens == len(each.ids)


def test_the_mean_of_models_is_another_model():
    one, other, (src, lengths) = member(1), member(2), sentences()
    found = search(Ensemble([one, other]), src, lengths)
    assert [best[0].ids for best in found] != [best[0].ids for best in search(one, src, lengths)]
    assert [best[0].ids for best in found] != [best[0].ids for best in search(other, src, lengths)]


def test_an_ensemble_has_attention_where_a_member_has():
    assert Ensemble([member(1, "fixed"), member(2)]).has_attention
    assert not Ensemble([member(1, "fixed")]).has_attention
    with pytest.raises(ValueError, match="needs a model"):
        Ensemble([])


def test_hypotheses_end():
    model = Ensemble([member(1), member(2)])
    assert any(best[0].ids[-1] == EOS for best in search(model, *sentences()))
