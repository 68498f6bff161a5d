"""What is drawn for a sentence, what it costs, and what neither changes."""

import numpy as np
import pytest
import torch

from nmt.analysis.metrics import sentence_bleu, sentence_chrf
from nmt.data.batches import Batches, BatchOptions
from nmt.data.symbols import BOS, EOS, PAD
from nmt.minimum_risk import Candidates, CandidateSampler, MinimumRiskOptions
from nmt.minimum_risk.candidates import CPU_PIECES
from nmt.runtime.device import random_states

CPU = torch.device("cpu")


@pytest.fixture
def sampler(tiny) -> CandidateSampler:
    return CandidateSampler(MinimumRiskOptions(samples=12), tiny.tokenizer.tgt, sentence_chrf, seed=1)


@pytest.fixture
def batches(tiny) -> Batches:
    return Batches(tiny.encoded, BatchOptions(60))


def ids_of(found: Candidates, sentence: int) -> list[list[int]]:
    rows = found.tgt_out[found.sentences == sentence].tolist()
    return [[token for token in row if token != PAD] for row in rows]


def test_the_reference_comes_first_and_costs_nothing_and_nothing_comes_twice(tiny, sampler, batches):
    batch = batches.collate(np.arange(4))
    found = sampler.draw(tiny.model(), batch, epoch=0)
    for row, (ids, length) in enumerate(zip(batch.tgt_out.tolist(), batch.tgt_lengths.tolist(), strict=True)):
        candidates = ids_of(found, row)
        assert candidates[0] == ids[:length]
        assert len({tuple(each) for each in candidates}) == len(candidates) > 1
        assert found.places[found.sentences == row].tolist() == list(range(len(candidates)))
    assert found.costs[found.places == 0].tolist() == [0.0] * 4
    assert ((found.costs[found.places > 0] > 0) & (found.costs <= 1).all()).all()


def test_costs_are_those_of_the_text(tiny, sampler, batches):
    found = sampler.draw(tiny.model(), batches.collate(np.arange(3)), epoch=0)
    for sentence in range(3):
        texts = [tiny.tokenizer.tgt.decode(ids) for ids in ids_of(found, sentence)]
        expected = [1 - sentence_chrf(text, texts[0]) / 100 for text in texts]
        assert found.costs[found.sentences == sentence].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("metric", [sentence_bleu(), sentence_chrf], ids=["bleu", "chrf"])
def test_an_empty_reference_costs_nothing(tiny, batches, metric):
    batch = batches.collate(np.arange(1))
    empty = batch._replace(
        tgt_in=torch.full((1, 1), BOS), tgt_out=torch.full((1, 1), EOS), tgt_lengths=torch.ones(1, dtype=torch.int64)
    )
    sampler = CandidateSampler(MinimumRiskOptions(samples=12), tiny.tokenizer.tgt, metric, seed=1)
    found = sampler.draw(tiny.model(), empty, epoch=0)
    assert ids_of(found, 0)[0] == [EOS]
    assert found.costs.tolist() == [0.0] + [1.0] * (len(found.costs) - 1)


def test_the_inputs_are_the_outputs_one_step_later(tiny, sampler, batches):
    found = sampler.draw(tiny.model(), batches.collate(np.arange(3)), epoch=0)
    for inputs, outputs in zip(found.tgt_in.tolist(), found.tgt_out.tolist(), strict=True):
        length = sum(token != PAD for token in outputs)
        assert inputs == [BOS, *outputs[: length - 1], *[PAD] * (len(inputs) - length)]


def test_what_is_drawn_for_a_sentence_does_not_depend_on_its_batch(tiny, sampler, batches):
    model = tiny.model().double()
    together = sampler.draw(model, batches.collate(np.arange(5)), epoch=0)
    for row in range(5):
        alone = sampler.draw(model, batches.collate(np.array([row])), epoch=0)
        assert ids_of(alone, 0) == ids_of(together, row)


def test_another_epoch_or_seed_draws_others(tiny, sampler, batches):
    batch, model = batches.collate(np.arange(3)), tiny.model()
    other = CandidateSampler(sampler.options, sampler.subwords, sampler.metric, seed=2)
    found = [ids_of(each.draw(model, batch, epoch), 0) for each, epoch in ((sampler, 0), (sampler, 1), (other, 0))]
    assert found[0] != found[1] != found[2] != found[0]
    assert ids_of(sampler.draw(model, batch, 0), 0) == found[0]


def test_there_is_no_dropout_and_random_numbers_stay(tiny, sampler, batches):
    batch = batches.collate(np.arange(3))
    dropped, plain = tiny.model(dropout=0.5).train(), tiny.model()
    before = random_states()
    found = sampler.draw(dropped, batch, epoch=0)
    assert all(torch.equal(state, before[name]) for name, state in random_states().items())
    assert dropped.training
    torch.testing.assert_close(found, sampler.draw(plain.eval(), batch, epoch=0))
    assert not plain.training


def test_a_sample_that_is_cut_off_has_no_end(tiny, batches):
    sampler = CandidateSampler(MinimumRiskOptions(samples=60), tiny.tokenizer.tgt, sentence_chrf, seed=1)
    model = tiny.model()
    with torch.no_grad():
        model.output.bias[EOS] = -30.0
    batch = batches.collate(np.arange(1))
    found = sampler.draw(model, batch, epoch=0)
    longest = 2 * int(batch.src_lengths[0]) + 10
    assert all(len(ids) == longest and EOS not in ids for ids in ids_of(found, 0)[1:])


@pytest.mark.parametrize(("longest", "most"), [(10, 63), (1000, 1)])
def test_batches_are_split_by_the_pieces_of_their_candidates(sampler, longest, most):
    parts = sampler.split(np.arange(100), longest, CPU)
    assert np.concatenate(parts).tolist() == list(range(100))
    assert max(map(len, parts)) <= most
    assert max(map(len, parts)) * 13 * longest <= CPU_PIECES or most == 1


def test_a_small_batch_stays_whole(sampler):
    assert len(sampler.split(np.arange(3), 20, CPU)) == 1


def test_sentence_bleu_is_that_of_sacrebleu():
    import sacrebleu

    hypothesis, reference = "the old dog sees a house .", "the old dog sees the red house ."
    assert sentence_bleu()(hypothesis, reference) == sacrebleu.sentence_bleu(hypothesis, [reference]).score
    assert sentence_bleu("char")("我爱你", "我爱你们") == pytest.approx(
        sacrebleu.sentence_bleu("我爱你", ["我爱你们"], tokenize="char").score
    )
