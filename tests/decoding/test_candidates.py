"""Which continuations a step takes, on small logits."""

import numpy as np
import pytest
import torch

from nmt.data.symbols import BOS, EOS, PAD
from nmt.decoding.candidates import take_best, take_likeliest

NONE_YET = np.zeros((1, 1))


def likeliest(logits, allowed=None, log_probs=NONE_YET):
    logits = torch.tensor(logits)
    allowed = logits if allowed is None else torch.tensor(allowed)
    return take_likeliest(logits, allowed, log_probs, np.arange(len(logits)), 1)


def test_of_equal_continuations_the_lowest_id_is_taken():
    logits = [[0.0, 0.0, 1.0, 2.0, 2.0, 2.0]]
    assert likeliest(logits).tokens.tolist() == [[3]]
    best = take_best(torch.tensor(logits), torch.tensor(logits), NONE_YET, beam=3)
    assert best.tokens.tolist() == [[3, 4, 5]]


def test_of_equal_continuations_the_lower_parent_comes_first():
    logits = torch.tensor([[0.0, 0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 1.0, 2.0]])
    best = take_best(logits, logits, np.array([[-1.0, -1.0]]), beam=3)
    assert best.parents.tolist() == [[0, 1, 0]]
    assert best.tokens.tolist() == [[4, 4, 3]]


def test_padding_and_the_beginning_are_never_taken_but_keep_their_probability():
    logits = np.full((1, 6), 0.0)
    logits[0, PAD] = logits[0, BOS] = 5.0
    logits[0, EOS] = 1.0
    found = likeliest(logits)
    assert found.tokens.tolist() == [[EOS]]
    assert found.log_probs[0, 0] == pytest.approx(1.0 - np.log(np.exp(logits).sum()))


def test_what_is_not_allowed_is_not_taken_and_changes_no_probability():
    logits, allowed = [[0.0, 0.0, 1.0, 2.0, 3.0]], [[0.0, 0.0, 1.0, 2.0, -np.inf]]
    found = likeliest(logits, allowed, np.array([[-0.5]]))
    assert found.tokens.tolist() == [[3]]
    assert found.log_probs[0, 0] == pytest.approx(-0.5 + 2.0 - np.log(np.exp(logits).sum()))


def test_a_row_that_is_not_a_distribution_continues_nothing():
    for broken in (np.nan, np.inf):
        logits = [[0.0, 0.0, 1.0, broken, 0.0]]
        assert np.isneginf(likeliest(logits).log_probs).all()
        assert np.isneginf(take_best(torch.tensor(logits), torch.tensor(logits), NONE_YET, beam=2).log_probs).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_beam_of_one_takes_the_likeliest(seed):
    torch.manual_seed(seed)
    logits = torch.randn(4, 700)
    log_probs = -np.arange(4.0)[:, None]
    one, other = take_best(logits, logits, log_probs, beam=1), likeliest(logits.tolist(), log_probs=log_probs)
    assert one.tokens.tolist() == other.tokens.tolist()
    assert one.log_probs.tolist() == other.log_probs.tolist()


@pytest.mark.parametrize("vocab_size", [5, 63, 64, 65, 127, 130, 1000])
@pytest.mark.parametrize("beam", [1, 4, 12])
@pytest.mark.parametrize("handicapped", [False, True])
def test_the_best_of_all_continuations_are_taken(vocab_size, beam, handicapped):
    generator = torch.Generator().manual_seed(vocab_size + beam)
    logits = torch.randn(2 * 3, vocab_size, generator=generator)
    allowed = logits.masked_fill(torch.rand(logits.shape, generator=generator) < 0.3, -torch.inf)
    log_probs = np.array([[-1.0, -np.inf, -0.5], [-3.0, -2.0, -2.5]])
    handicaps = 2 * torch.rand(2, vocab_size, generator=generator).double() if handicapped else None
    grown = logits.log_softmax(1).masked_fill(allowed.isneginf(), -torch.inf)
    grown[:, [PAD, BOS]] = -torch.inf
    grown = grown.double().view(2, 3, -1) + torch.from_numpy(log_probs).unsqueeze(2)
    costs = grown if handicaps is None else grown - handicaps.unsqueeze(1)
    best = take_best(logits, allowed, log_probs, beam, handicaps)
    for sentence, (all_grown, all_costs) in enumerate(zip(grown.flatten(1), costs.flatten(1), strict=True)):
        expected = all_costs.sort(descending=True, stable=True).indices[:beam]
        expected = expected[all_costs[expected].isfinite()]
        there = np.isfinite(best.log_probs[sentence])
        found = (best.parents * vocab_size + best.tokens)[sentence, there]
        assert found.tolist() == expected.tolist()
        assert best.log_probs[sentence, there] == pytest.approx(all_grown[expected].numpy())


@pytest.mark.parametrize("beam", [1, 3, 5])
def test_of_equal_continuations_the_first_are_taken_in_a_large_vocabulary(beam):
    logits = torch.zeros(3, 1000)
    logits[:, [136, 700, 990]] = 3.0
    best = take_best(logits, logits, np.full((1, 3), -1.0), beam)
    expected = [(parent, token) for parent in range(3) for token in (136, 700, 990)][:beam]
    assert list(zip(best.parents[0].tolist(), best.tokens[0].tolist(), strict=True)) == expected
