"""The expected cost and its gradient, against enumeration and against the papers' formulas."""

from itertools import product

import numpy as np
import pytest
import torch

from nmt.data.batches import Batch
from nmt.data.symbols import BOS, EOS, PAD
from nmt.layers.loss import cross_entropy
from nmt.minimum_risk import Candidates, MinimumRiskOptions, expected_costs, risk_loss
from nmt.minimum_risk.loss import sequence_log_probs
from tests.support.models import make_model

WORDS = (4, 5)  # of a vocabulary of six ids


def test_the_expected_cost_by_hand():
    """Probabilities 0.4 and 0.1, squared and renormalized: 16/17 and 1/17; the second sentence has one candidate."""
    log_probs = torch.tensor([[0.4, 0.1], [0.3, 0.0]], dtype=torch.float64).log()
    found = expected_costs(log_probs, torch.tensor([[0.0, 0.5], [0.7, 0.9]], dtype=torch.float64), sharpness=2.0)
    assert found.tolist() == pytest.approx([0.5 / 17, 0.7])


def test_the_gradient_is_the_papers():
    """alpha Q(y) (cost(y) - expected cost).  # Shen et al. (2016), eq. 9"""
    log_probs = torch.tensor([[-3.0, -5.0, -4.0], [-9.0, -2.0, -torch.inf]], dtype=torch.float64, requires_grad=True)
    costs = torch.tensor([[0.0, 0.6, 0.9], [0.2, 0.8, 0.0]], dtype=torch.float64)
    found = expected_costs(log_probs, costs, sharpness=0.3)
    found.sum().backward()
    shares = (log_probs.detach().exp() ** 0.3) / (log_probs.detach().exp() ** 0.3).sum(1, keepdim=True)
    torch.testing.assert_close(log_probs.grad, 0.3 * shares * (costs - found.detach().unsqueeze(1)))


def batch_of(sources: list[list[int]], targets: list[list[int]]) -> Batch:
    src, tgt_out = (torch.tensor(padded(side)) for side in (sources, targets))
    lengths = [torch.tensor([len(ids) for ids in side]) for side in (sources, targets)]
    tgt_in = torch.tensor(padded([[BOS, *ids[:-1]] for ids in targets]))
    positions, rows = (tgt_out != PAD).flatten().nonzero().squeeze(1), torch.arange(len(sources))
    links = torch.zeros(0, 3, dtype=torch.long)
    return Batch(src, lengths[0], tgt_in, tgt_out, lengths[1], positions, rows, links, int(lengths[1].sum()))


def padded(side: list[list[int]], width: int = 0) -> list[list[int]]:
    width = max(width, *map(len, side))
    return [[*ids, *[PAD] * (width - len(ids))] for ids in side]


def candidates_of(by_sentence: list[dict[tuple[int, ...], float]], width: int = 0) -> Candidates:
    """Of each sentence its candidates and what they cost; width: padded to it."""
    each = [list(ids) for candidates in by_sentence for ids in candidates]
    sentences = [row for row, candidates in enumerate(by_sentence) for _ in candidates]
    places = [place for candidates in by_sentence for place in range(len(candidates))]
    costs = [cost for candidates in by_sentence for cost in candidates.values()]
    tgt_in = padded([[BOS, *ids[:-1]] for ids in each], width)
    where, tgt_out = (torch.tensor(sentences), torch.tensor(places)), torch.tensor(padded(each, width))
    return Candidates(*where, torch.tensor(tgt_in), tgt_out, torch.tensor(costs, dtype=torch.float64))


def all_translations(longest: int) -> list[tuple[int, ...]]:
    """Every translation of up to `longest` words."""
    return [(*words, EOS) for length in range(longest + 1) for words in product(WORDS, repeat=length)]


def probability(model, source: list[int], ids: tuple[int, ...]) -> torch.Tensor:
    """By steps, of one sentence, as search has it."""
    read, state = model.encode(torch.tensor([source]), torch.tensor([len(source)]))
    total, last = torch.ones((), dtype=torch.float64), BOS
    for token in ids:
        logits, state, _ = model.step(torch.tensor([last]), state, read)
        total, last = total * logits.softmax(1)[0, token], token
    return total


def gradients(model, total: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(total, list(model.parameters()), allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize("decoder", ["bahdanau", "luong", "conditional_gru", "transformer"])
@pytest.mark.parametrize("sharpness", [0.005, 1.0])
def test_the_objective_and_its_gradient_are_those_of_enumeration(decoder, sharpness):
    """All translations of up to two words are the candidates; probabilities are multiplied step by step."""
    model = make_model(decoder, vocab_size=6)
    source = [4, 5, 5, EOS]
    costs = {ids: float(cost) for ids, cost in zip(all_translations(2), np.linspace(0, 1, 7), strict=True)}
    options = MinimumRiskOptions(sharpness=sharpness)
    loss = risk_loss(model, batch_of([source], [[EOS]]), candidates_of([costs]), options)
    powers = torch.stack([probability(model, source, ids) ** sharpness for ids in costs])
    expected = (powers * torch.tensor(list(costs.values()), dtype=torch.float64)).sum() / powers.sum()
    torch.testing.assert_close(loss.expected_cost, expected)
    found = gradients(model, loss.expected_cost)
    for ours, theirs in zip(found, gradients(model, expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-12)
    assert any(gradient.abs().max() > 1e-9 for gradient in found)


SOURCES = [[4, EOS], [5, 4, 4, 5, EOS]]
TARGETS = [[5, EOS], [4, 4, EOS]]
COSTS = [{(5, EOS): 0.0, (4, EOS): 0.9}, {(4, 4, EOS): 0.0, (5, EOS): 0.4, (5, 5, 4, 4, EOS): 1.0}]
MIXED = MinimumRiskOptions(cross_entropy_weight=0.5, sharpness=0.4)


def parts_of(loss) -> torch.Tensor:
    return torch.stack(list(loss))


def test_a_batch_of_many_is_many_of_one():
    model = make_model(vocab_size=6)
    both = risk_loss(model, batch_of(SOURCES, TARGETS), candidates_of(COSTS), MIXED, 0.1)
    each = [
        risk_loss(model, batch_of([source], [target]), candidates_of([costs]), MIXED, 0.1)
        for source, target, costs in zip(SOURCES, TARGETS, COSTS, strict=True)
    ]
    torch.testing.assert_close(parts_of(both), torch.stack([parts_of(loss) for loss in each]).sum(0))
    total = torch.stack([loss.expected_cost + loss.cross_entropy for loss in each]).sum()
    for ours, theirs in zip(
        gradients(model, both.expected_cost + both.cross_entropy), gradients(model, total), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-12)


def test_padding_changes_nothing():
    model = make_model(vocab_size=6)
    batch = batch_of(SOURCES, TARGETS)
    wide = batch._replace(src=torch.nn.functional.pad(batch.src, (0, 3)))
    found = []
    for each, width in ((batch, 0), (wide, 9)):
        loss = risk_loss(model, each, candidates_of(COSTS, width), MIXED, 0.1)
        found.append((parts_of(loss), gradients(model, loss.expected_cost + loss.cross_entropy)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)


def test_cross_entropy_and_nll_are_those_of_the_references():
    model = make_model(vocab_size=6)
    batch = batch_of(SOURCES, TARGETS)
    loss = risk_loss(model, batch, candidates_of(COSTS), MIXED, 0.1)
    features = model.features_without_weights(batch.src, batch.src_lengths, batch.tgt_in)
    plain = cross_entropy(features, model.output.weight, model.output.bias, batch.tgt_out, smoothing=0.1)
    torch.testing.assert_close((loss.cross_entropy, loss.nll), (plain.objective, plain.nll))
    assert not loss.nll.requires_grad


def test_without_a_weight_there_is_no_cross_entropy():
    loss = risk_loss(make_model(vocab_size=6), batch_of(SOURCES, TARGETS), candidates_of(COSTS), MinimumRiskOptions())
    assert not loss.cross_entropy.requires_grad
    assert float(loss.cross_entropy) == 0


def test_equal_costs_have_no_gradient():
    model = make_model(vocab_size=6)
    costs = [dict.fromkeys(candidates, 0.3) for candidates in COSTS]
    loss = risk_loss(model, batch_of(SOURCES, TARGETS), candidates_of(costs), MinimumRiskOptions(sharpness=1.0))
    assert loss.expected_cost.item() == pytest.approx(0.6)
    assert all(gradient.abs().max() < 1e-12 for gradient in gradients(model, loss.expected_cost))


def test_log_probabilities_of_many_tokens_are_made_in_chunks(monkeypatch):
    model = make_model(vocab_size=6)
    torch.manual_seed(0)
    features = torch.randn(3, 4, model.decoder.features_size, dtype=torch.float64, requires_grad=True)
    tgt_out = torch.tensor([[4, 5, 4, EOS], [EOS, PAD, PAD, PAD], [5, EOS, PAD, PAD]])
    whole = sequence_log_probs(model, features, tgt_out)
    (expected,) = torch.autograd.grad(whole[0] - 2 * whole[2], features)
    monkeypatch.setattr("nmt.minimum_risk.loss.CHUNK", 2)
    parts = sequence_log_probs(model, features, tgt_out)
    (found,) = torch.autograd.grad(parts[0] - 2 * parts[2], features)
    torch.testing.assert_close((parts, found), (whole, expected))
