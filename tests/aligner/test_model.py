"""The aligner of both directions: its likelihood, its tables, and what does not change it."""

import itertools

import pytest
import torch

from nmt.aligner import Aligner, AlignerOptions, Vocabulary
from nmt.aligner.direction import sampled_log_probs
from nmt.aligner.hmm import posterior
from nmt.data.batches import Batch
from nmt.data.symbols import BOS, EOS, PAD

SIZES = SRC_SIZE, TGT_SIZE = 9, 7


def aligner(**options) -> Aligner:
    """A small one in float64 whose weights are all drawn at random."""
    torch.manual_seed(2)
    settings = AlignerOptions(embedding=4, hidden=5, max_jump=2, dropout=0.0, **options)
    sides = [Vocabulary(torch.randn(size).log_softmax(0), torch.arange(size) % 2 == 0) for size in SIZES]
    model = Aligner(sides[0], sides[1], settings).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    return model


PAIRS = [([4, 5, 6, 8, EOS], [4, 5, EOS]), ([7, 4, EOS], [6, 4, 5, 6, EOS]), ([8, EOS], [5, EOS])]


def batch(pairs, longer: int = 0):
    src, tgt = (
        torch.tensor([ids + [PAD] * (max(map(len, side)) + longer - len(ids)) for ids in side])
        for side in zip(*pairs, strict=True)
    )
    tgt_in = torch.cat((torch.full((len(tgt), 1), BOS), tgt.masked_fill(tgt == EOS, PAD)[:, :-1]), 1)
    return src, (src != PAD).sum(1), tgt_in, tgt


def gradients(model, parts) -> list[torch.Tensor]:
    model.zero_grad()
    for pairs, longer in parts:
        model.loss(Batch.of(*batch(pairs, longer))).objective.backward()
    return [weight.grad.clone() for weight in model.parameters()]


@pytest.mark.parametrize("max_fertility", [3.0, None])
@pytest.mark.parametrize("sampled_softmax", [True, False])
def test_padding_changes_nothing(sampled_softmax, max_fertility):
    model = aligner(sampled_softmax=sampled_softmax, max_fertility=max_fertility)
    for pairs in (PAIRS, PAIRS[:1]):  # with and without padding in the batch
        found = zip(gradients(model, [(pairs, 0)]), gradients(model, [(pairs, 3)]), strict=True)
        for one, other in found:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("max_fertility", [3.0, None])
def test_a_batch_of_many_is_many_of_one_with_the_whole_vocabulary(max_fertility):
    model = aligner(sampled_softmax=False, max_fertility=max_fertility)
    whole = model.loss(Batch.of(*batch(PAIRS)))
    each = [model.loss(Batch.of(*batch([pair]))) for pair in PAIRS]
    assert whole.objective.item() == pytest.approx(sum(loss.objective.item() for loss in each), rel=1e-12)
    apart = gradients(model, [([pair], 0) for pair in PAIRS])
    for one, other in zip(gradients(model, [(PAIRS, 0)]), apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_all_targets_of_a_length_together_have_probability_one_where_no_piece_continues_a_word():
    direction = aligner().eval().forward_direction
    direction.continues.zero_()  # else the jump to a piece depends on the piece, as its class is one of several
    targets = torch.tensor(list(itertools.product(range(TGT_SIZE), repeat=3)))
    src = torch.tensor([[4, 5, 8, 6]]).expand(len(targets), -1)
    lengths = torch.full((len(targets),), 4), torch.full((len(targets),), 3)
    total = direction.log_likelihood(src, lengths[0], targets, lengths[1]).exp().sum()
    assert total.item() == pytest.approx(1.0, rel=1e-10)


@pytest.mark.parametrize("max_fertility", [3.0, None])
def test_the_tables_give_the_likelihood_of_evaluation(max_fertility):
    model = aligner(max_fertility=max_fertility, jump_scale=0.5).eval().float()  # tables are in float32
    src, src_lengths, _, tgt = batch(PAIRS)
    lengths = src_lengths - 1, (tgt != PAD).sum(1) - 1
    there, back = model.log_likelihoods(src, src_lengths, tgt, lengths[1] + 1)
    for direction, log_probs, sides in (
        (model.forward_direction, there, (src[:, :-1], lengths[0], tgt[:, :-1], lengths[1])),
        (model.backward_direction, back, (tgt[:, :-1], lengths[1], src[:, :-1], lengths[0])),
    ):
        found = posterior(direction.lattice(direction.tables(), *sides)).log_probs
        torch.testing.assert_close(found, log_probs.detach(), rtol=1e-5, atol=1e-5)


def test_the_sampled_softmax_over_pieces_that_are_surely_drawn_is_the_softmax():
    energies, unigram = torch.randn(3, 5), torch.rand(5).log_softmax(0)
    found = sampled_log_probs(energies, unigram, torch.tensor(10_000))
    torch.testing.assert_close(found, energies.log_softmax(1))


def test_the_sampled_sum_is_unbiased():
    torch.manual_seed(4)
    energies, unigram = torch.randn(1, 12), torch.randn(12).log_softmax(0)
    draws, rounds, total = 6, 4000, 0.0
    for _ in range(rounds):
        types = torch.multinomial(unigram.exp(), draws, replacement=True).unique()
        found = sampled_log_probs(energies[:, types], unigram[types], torch.tensor(draws))
        total += (energies[0, types[0]] - found[0, 0]).exp().item() / rounds
    assert total == pytest.approx(energies.exp().sum().item(), rel=0.05)


def test_training_begins_as_ibm_model_1():
    torch.manual_seed(0)
    sides = [Vocabulary(torch.zeros(size).log_softmax(0), torch.zeros(size, dtype=torch.bool)) for size in SIZES]
    direction = Aligner(sides[0], sides[1], AlignerOptions()).eval().forward_direction
    src, tgt = torch.tensor([[4, 5, 6]]), torch.tensor([[4, 5]])
    lengths = torch.tensor([3]), torch.tensor([2])
    found = direction.log_likelihood(src, lengths[0], tgt, lengths[1])
    emissions = direction.output(direction.hidden_of(src[0])).log_softmax(1)[:, tgt[0]].exp()
    expected = (0.7 * emissions.mean(0) + 0.3 / TGT_SIZE).log().sum()
    torch.testing.assert_close(found[0], expected)


def test_with_fertility_all_targets_of_all_lengths_have_probability_one_where_all_jumps_are_equally_probable():
    torch.manual_seed(5)
    sides = [Vocabulary(torch.randn(3).log_softmax(0), torch.zeros(3, dtype=torch.bool)) for _ in "xy"]
    direction = Aligner(sides[0], sides[1], AlignerOptions(4, 5, max_fertility=2)).double().eval().forward_direction
    assert direction.fertility
    for weight in (*direction.output.parameters(), *direction.fertility.parameters()):
        torch.nn.init.normal_(weight)
    total = torch.zeros(())
    for length in range(8):
        places = list(itertools.product(range(3), repeat=length))
        targets = torch.tensor(places) if length else torch.zeros(1, 1).long()
        src = torch.tensor([[1, 2]]).expand(len(targets), -1)
        sizes = torch.full((len(targets),), 2), torch.full((len(targets),), length)
        total += direction.log_likelihood(src, sizes[0], targets, sizes[1]).detach().exp().sum()
    assert float(total) == pytest.approx(1.0, abs=0.01)


@pytest.mark.slow
def test_a_piece_that_is_always_translated_by_two_learns_to_emit_two():
    torch.manual_seed(1)
    sides = [Vocabulary(torch.zeros(8).log_softmax(0), torch.zeros(8, dtype=torch.bool)) for _ in "xy"]
    settings = {"null_probability": 0.01, "dropout": 0.0, "sampled_softmax": False, "jump_scale": 0.001}
    options = AlignerOptions(8, 8, max_fertility=4, **settings)
    direction = Aligner(sides[0], sides[1], options).forward_direction
    src, tgt = torch.tensor([[1, 2], [1, 0], [2, 0]]), torch.tensor([[4, 5, 6], [4, 5, 0], [6, 0, 0]])
    lengths = torch.tensor([2, 1, 1]), torch.tensor([3, 2, 1])
    adam = torch.optim.Adam(direction.parameters(), lr=0.05)
    for _ in range(300):
        adam.zero_grad()
        (-direction.log_likelihood(src, lengths[0], tgt, lengths[1]).sum()).backward()
        adam.step()
    hidden = direction.hidden_of(torch.tensor([1, 2]))
    torch.testing.assert_close(direction.log_fertility(hidden).exp(), torch.tensor([2.0, 1.0]), atol=0.1, rtol=0)
    emitted = direction.output(hidden).softmax(1).detach()[:, 4:7]
    torch.testing.assert_close(emitted, torch.tensor([[0.5, 0.5, 0], [0, 0, 1]]), atol=0.05, rtol=0)


@pytest.mark.parametrize("pairs", [[([EOS], [EOS])], [([EOS], [4, EOS])], [([4, EOS], [EOS])]])
@pytest.mark.parametrize("max_fertility", [3.0, None])
def test_a_blank_side_gives_finite_gradients(pairs, max_fertility):
    model = aligner(max_fertility=max_fertility)
    assert all(grad.isfinite().all() for grad in gradients(model, [(pairs, 0)]))


@pytest.mark.parametrize("null", [0.0, 1.0, float("nan")])
def test_an_impossible_probability_of_null_is_refused(null):
    with pytest.raises(ValueError, match=r"model\.aligner\.null_probability=.* is impossible"):
        AlignerOptions(null_probability=null)
