import math

import pytest
import torch
from torch.nn import functional

from nmt.acceleration.fused import loss as fused
from nmt.layers import loss as reference
from nmt.layers.loss import guided_cross_entropy

WORDS, WIDTH = 11, 6
EITHER = pytest.mark.parametrize(
    "cross_entropy", [reference.cross_entropy, fused.cross_entropy], ids=["reference", "fused"]
)


@pytest.fixture
def parts():
    torch.manual_seed(0)
    features = torch.randn(3, 5, WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(WORDS, WIDTH, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(WORDS, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(1, WORDS, (3, 5))
    targets[0, 3:] = 0
    targets[2, 1:] = 0
    return features, weight, bias, targets


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("chunk", [None, 1, 4, 100])
def test_the_loss_and_its_gradients_are_torchs_cross_entropy(parts, smoothing, chunk):
    """chunk None: the reference."""
    features, weight, bias, targets = parts
    if chunk is None:
        loss = reference.cross_entropy(features, weight, bias, targets, smoothing=smoothing)
    else:
        loss = fused.cross_entropy(features, weight, bias, targets, smoothing=smoothing, chunk=chunk)
    logits = functional.linear(features, weight, bias).flatten(0, 1)
    expected = functional.cross_entropy(
        logits, targets.flatten(), ignore_index=0, reduction="sum", label_smoothing=smoothing
    )
    nll = functional.cross_entropy(logits, targets.flatten(), ignore_index=0, reduction="sum")
    torch.testing.assert_close(loss.objective, expected)
    torch.testing.assert_close(loss.nll, nll)
    assert loss.tokens == 9
    ours = torch.autograd.grad(loss.objective / 7, parts[:3])
    for gradient, theirs in zip(ours, torch.autograd.grad(expected / 7, parts[:3]), strict=True):
        torch.testing.assert_close(gradient, theirs)


@EITHER
def test_the_likelihood_has_no_gradient(parts, cross_entropy):
    assert not cross_entropy(*parts).nll.requires_grad


@EITHER
def test_a_batch_of_padding_costs_nothing(parts, cross_entropy):
    features, weight, bias, targets = parts
    loss = cross_entropy(features, weight, bias, torch.zeros_like(targets), smoothing=0.1)
    assert (loss.objective.item(), loss.nll.item(), loss.tokens) == (0.0, 0.0, 0)


@EITHER
def test_huge_logits_stay_finite(parts, cross_entropy):
    features, weight, bias, targets = parts
    loss = cross_entropy(features.detach().float() * 1e3, weight.detach().float(), bias.detach().float(), targets)
    logits = functional.linear(features.detach() * 1e3, weight.detach(), bias.detach()).flatten(0, 1)
    expected = functional.cross_entropy(logits, targets.flatten(), ignore_index=0, reduction="sum")
    torch.testing.assert_close(loss.nll.double(), expected, rtol=1e-5, atol=1e-5)


@EITHER
def test_no_gradients_are_made_where_none_are_asked_for(parts, cross_entropy):
    with torch.no_grad():
        assert not cross_entropy(*parts).objective.requires_grad


@EITHER
def test_under_autocast_products_are_bf16_and_sums_float32(parts, cross_entropy):
    features, weight, bias = (part.detach().float() for part in parts[:3])
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy(features, weight, bias, parts[3], smoothing=0.1)
    exact = cross_entropy(*parts, smoothing=0.1)
    assert loss.objective.dtype is torch.float32
    torch.testing.assert_close(loss.objective.double(), exact.objective, rtol=2e-2, atol=0)
    assert loss.objective.double() != exact.objective


def test_differentiating_twice_is_refused_rather_than_wrong(parts):
    loss = fused.cross_entropy(*parts)
    torch.autograd.grad(loss.objective, parts[:3], retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        torch.autograd.grad(loss.objective, parts[:3])


def test_guidance_is_the_cross_entropy_of_linked_pieces_by_hand():
    weights = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], [[1.0, 0.0, 0.0], [0.2, 0.2, 0.6]]])
    # The first piece has one link; the last two, so that each counts half; the others are left alone.
    links = torch.tensor([[0, 0, 1], [1, 1, 0], [1, 1, 2]])
    expected = -math.log(0.25) - (math.log(0.2) + math.log(0.6)) / 2
    assert float(guided_cross_entropy(weights, links)) == pytest.approx(expected)
    assert float(guided_cross_entropy(weights, links[:0])) == 0


def test_guidance_is_finite_where_attention_is_nowhere_near():
    energies = torch.tensor([[[300.0, 0.0]]], requires_grad=True)
    loss = guided_cross_entropy(energies.softmax(-1), torch.tensor([[0, 0, 1]]))
    assert torch.isfinite(loss)
    (gradient,) = torch.autograd.grad(loss, energies)
    assert torch.isfinite(gradient).all()


def test_guidance_pulls_energies_as_cross_entropy_does():
    energies = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    where = torch.tensor([[0, 0, 3], [0, 2, 1], [1, 1, 0]])
    guided = guided_cross_entropy(energies.softmax(-1), where)
    expected = functional.cross_entropy(energies[where[:, 0], where[:, 1]], where[:, 2], reduction="sum")
    torch.testing.assert_close(guided, expected)
    torch.testing.assert_close(*torch.autograd.grad(guided, energies), *torch.autograd.grad(expected, energies))


def test_attention_is_guided_in_proportion_to_the_weights_of_links():
    weights = torch.tensor([[[0.5, 0.25, 0.25]]])
    links = torch.tensor([[0, 0, 0, 3_000], [0, 0, 1, 1_000]])
    expected = -(0.75 * math.log(0.5) + 0.25 * math.log(0.25))
    assert float(guided_cross_entropy(weights, links)) == pytest.approx(expected)
