"""The hidden Markov model of alignments, held to the enumeration of all alignments."""

import itertools
import math

import pytest
import torch

from nmt.aligner.hmm import CLASSES, Lattice, jump_of, log_likelihood, normalized_jumps, posterior, viterbi

SRC_LENGTHS, TGT_LENGTHS = (3, 2, 1), (3, 3, 2)
JUMPS = 5


def lattice(dtype: torch.dtype = torch.float64, *, padding: int = 0) -> Lattice:
    """Three pairs of up to three pieces a side, the same whatever the padding."""
    torch.manual_seed(3)
    src_lengths, tgt_lengths = torch.tensor(SRC_LENGTHS), torch.tensor(TGT_LENGTHS)
    size = 3 + padding
    emissions, null = torch.randn(3, 3, 3, dtype=dtype), torch.randn(3, 3, dtype=dtype)
    energies, continues = torch.randn(3, CLASSES, 4, JUMPS, dtype=dtype), torch.rand(3, 3) < 0.5
    padded = torch.full((3, size, size), 5.0, dtype=dtype)
    padded[:, :3, :3] = emissions
    nulls = torch.full((3, size), 7.0, dtype=dtype)
    nulls[:, :3] = null
    padded_energies = torch.full((3, CLASSES, size + 1, JUMPS), 3.0, dtype=dtype)
    padded_energies[:, :, :4] = energies
    classes = torch.ones(3, size, dtype=torch.bool)
    classes[:, :3] = continues
    jumps = normalized_jumps(padded_energies, src_lengths)
    return Lattice(padded, nulls, jumps, classes, src_lengths, tgt_lengths)


def alignments(of: Lattice, row: int) -> dict[tuple[int, ...], float]:
    """Every alignment of a pair, -1 for null, with the logarithm of its probability."""
    index = jump_of(of.emissions.shape[2], JUMPS)
    found = {}
    choices = range(-1, int(of.src_lengths[row]))
    for alignment in itertools.product(choices, repeat=int(of.tgt_lengths[row])):
        total, position = 0.0, -1
        for t, j in enumerate(alignment):
            if j < 0:
                total += float(of.null[row, t])
                continue
            jumps = of.jumps[row, int(of.continues[row, t]), position + 1]
            total += float(jumps[index[position + 1, j]] + of.emissions[row, t, j])
            position = j
        found[alignment] = total
    return found


@pytest.mark.parametrize("row", range(3))
def test_the_likelihood_is_the_sum_over_all_alignments(row):
    expected = math.log(sum(map(math.exp, alignments(lattice(), row).values())))
    assert log_likelihood(lattice())[row].item() == pytest.approx(expected, rel=1e-12)
    assert posterior(lattice()).log_probs[row].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("row", range(3))
def test_the_posterior_is_the_share_of_the_alignments_with_a_link(row):
    found = alignments(lattice(), row)
    whole = sum(map(math.exp, found.values()))
    links = posterior(lattice()).links[row]
    for t, j in itertools.product(range(3), range(3)):
        share = sum(math.exp(value) for each, value in found.items() if each[t : t + 1] == (j,)) / whole
        assert links[t, j].item() == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("row", range(3))
def test_the_viterbi_alignment_is_the_most_probable(row):
    found = alignments(lattice(), row)
    best = max(found, key=lambda each: found[each])
    assert viterbi(lattice())[row].tolist() == [*best, -1][:3]


def test_the_gradient_is_that_of_finite_differences():
    of = lattice()
    energies = torch.randn(3, CLASSES, 4, JUMPS, dtype=torch.float64)

    def likelihood(emissions, null, energies):
        jumps = normalized_jumps(energies, of.src_lengths)
        return log_likelihood(of._replace(emissions=emissions, null=null, jumps=jumps))

    leaves = [each.clone().requires_grad_() for each in (of.emissions, of.null, energies)]
    assert torch.autograd.gradcheck(likelihood, leaves)


def test_padding_changes_nothing_forward_or_backward():
    found = []
    for padding in (0, 4):
        of = lattice(padding=padding)
        leaves = [each.clone().requires_grad_() for each in of[:3]]
        log_probs = log_likelihood(of._replace(emissions=leaves[0], null=leaves[1], jumps=leaves[2]))
        grads = torch.autograd.grad(log_probs.sum(), leaves)
        links, best = posterior(of).links, viterbi(of)
        found.append((log_probs.detach(), grads[0][:, :3, :3], grads[1][:, :3], grads[2][:, :, :4], links[:, :3, :3]))
        assert not grads[0][:, 3:].any()
        assert not grads[0][:, :, 3:].any()
        assert not grads[1][:, 3:].any()
        assert not links[:, 3:].any()
        assert (best[:, 3:] == -1).all()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_jumps_sum_to_one_over_the_positions_that_there_are():
    jumps = normalized_jumps(torch.randn(3, CLASSES, 4, JUMPS), torch.tensor(SRC_LENGTHS))
    leads = jumps.exp().gather(3, jump_of(3, JUMPS).expand(3, CLASSES, -1, -1))
    for row, length in enumerate(SRC_LENGTHS):
        torch.testing.assert_close(leads[row, :, : length + 1, :length].sum(-1), torch.ones(CLASSES, length + 1))


def test_long_pairs_neither_underflow_nor_overflow():
    torch.manual_seed(1)
    steps, positions = 400, 300
    jumps = normalized_jumps(torch.randn(1, CLASSES, positions + 1, 17), torch.tensor([positions]))
    emissions = -60.0 * torch.rand(1, steps, positions)
    null, continues = torch.full((1, steps), -30.0), torch.rand(1, steps) < 0.5
    of = Lattice(emissions, null, jumps, continues, torch.tensor([positions]), torch.tensor([steps]))
    found = posterior(of)
    doubles = of._replace(emissions=emissions.double(), null=null.double(), jumps=jumps.double())
    exact = log_likelihood(doubles)
    assert found.log_probs.item() == pytest.approx(exact.item(), rel=1e-5)
    assert found.links.isfinite().all()
    assert found.links.sum(2).max() <= 1.001


@pytest.mark.parametrize(("src", "tgt"), [(0, 2), (2, 0), (0, 0)])
def test_an_empty_side_has_no_links_and_a_finite_likelihood(src, tgt):
    jumps = normalized_jumps(torch.randn(1, CLASSES, src + 1, JUMPS), torch.tensor([src]))
    emissions, null = torch.randn(1, tgt, src), -torch.rand(1, tgt)
    lengths = torch.tensor([src]), torch.tensor([tgt])
    of = Lattice(emissions, null, jumps, torch.zeros(1, tgt, dtype=torch.bool), *lengths)
    found = posterior(of)
    assert found.links.shape == (1, tgt, src)
    assert found.log_probs.isfinite().all()
    if not src:
        assert found.log_probs.item() == pytest.approx(null.sum().item(), abs=1e-6)
        assert viterbi(of).tolist() == [[-1] * tgt]
