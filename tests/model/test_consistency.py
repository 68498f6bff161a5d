"""The loss of two passes, by itself: a plain formula, differentiated by autograd, says what it is."""

import pytest
import torch
from torch.nn import functional

from nmt.acceleration.fused import consistency as fused
from nmt.layers import loss as reference
from nmt.layers.loss import PassWeights

WORDS, WIDTH = 11, 6
EITHER = pytest.mark.parametrize(
    "loss_of", [reference.consistent_cross_entropy, fused.consistent_cross_entropy], ids=["reference", "fused"]
)
R_DROP, SIMCUT = PassWeights(0.5, 0.5, 1.25, 1.25), PassWeights(1.0, 0.0, 3.0, 0.0)
UNEVEN = PassWeights(0.7, 0.4, 0.9, 2.0)


@pytest.fixture
def parts():
    torch.manual_seed(0)
    features = torch.randn(6, 5, WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(WORDS, WIDTH, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(WORDS, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(1, WORDS, (3, 5))
    targets[0, 3:] = 0
    targets[2, 1:] = 0
    return features, weight, bias, targets


def formula(parts, weights: PassWeights, smoothing: float):
    """-> objective, nll and mean divergence, sentence by sentence and word by word, as the papers write them."""
    features, weight, bias, targets = parts
    objective = nll = kl = torch.zeros((), dtype=torch.float64)
    for row, column in (targets != 0).nonzero().tolist():
        p, q = (functional.linear(features[half + row, column], weight, bias).softmax(0) for half in (0, len(targets)))
        target = functional.one_hot(targets[row, column], WORDS).double()
        smoothed = (1 - smoothing) * target + smoothing / WORDS
        for share, probs in ((weights.first, p), (weights.second, q)):
            objective = objective - share * (smoothed * probs.log()).sum()
            nll = nll - share * (target * probs.log()).sum()
        divergence = weights.forward_kl * (p * (p / q).log()).sum() + weights.reverse_kl * (q * (q / p).log()).sum()
        objective = objective + divergence
        kl = kl + divergence / (weights.forward_kl + weights.reverse_kl)
    return objective, nll, kl


@pytest.mark.parametrize("weights", [R_DROP, SIMCUT, UNEVEN])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [None, 1, 4, 100])
def test_the_loss_of_two_passes_and_its_gradients_are_the_formulas(parts, weights, smoothing, chunk):
    """chunk None: the reference."""
    if chunk is None:
        loss = reference.consistent_cross_entropy(*parts, weights=weights, smoothing=smoothing)
    else:
        loss = fused.consistent_cross_entropy(*parts, weights=weights, smoothing=smoothing, chunk=chunk)
    objective, nll, kl = formula(parts, weights, smoothing)
    torch.testing.assert_close((loss.objective, loss.nll, loss.kl), (objective, nll, kl))
    assert loss.tokens == 9
    ours = torch.autograd.grad(loss.objective / 7, parts[:3])
    for gradient, theirs in zip(ours, torch.autograd.grad(objective / 7, parts[:3]), strict=True):
        torch.testing.assert_close(gradient, theirs)


@EITHER
def test_equal_passes_cost_their_cross_entropy_alone(parts, loss_of):
    features, weight, bias, targets = parts
    loss = loss_of(features[:3].repeat(2, 1, 1), weight, bias, targets, weights=R_DROP, smoothing=0.1)
    plain = reference.cross_entropy(features[:3], weight, bias, targets, smoothing=0.1)
    torch.testing.assert_close((loss.objective, loss.nll), (plain.objective, plain.nll))
    assert abs(float(loss.kl)) < 1e-12


@EITHER
def test_the_divergence_pulls_at_both_passes(parts, loss_of):
    weights = PassWeights(0.0, 0.0, 1.0, 0.0)
    (gradient,) = torch.autograd.grad(loss_of(*parts, weights=weights).objective, parts[:1])
    assert gradient[:3].any()
    assert gradient[3:].any()


@EITHER
def test_the_figures_have_no_gradient_and_padding_costs_nothing(parts, loss_of):
    loss = loss_of(*parts, weights=SIMCUT)
    assert not loss.nll.requires_grad
    assert not loss.kl.requires_grad
    none = loss_of(*parts[:3], torch.zeros_like(parts[3]), weights=SIMCUT, smoothing=0.1)
    assert (none.objective.item(), none.nll.item(), none.kl.item(), none.tokens) == (0.0, 0.0, 0.0, 0)


@EITHER
def test_huge_logits_stay_finite(parts, loss_of):
    leaves = [part.detach().float().requires_grad_() for part in parts[:3]]
    loss = loss_of(leaves[0] * 1e3, *leaves[1:], parts[3], weights=R_DROP)
    assert torch.isfinite(loss.objective)
    assert all(torch.isfinite(gradient).all() for gradient in torch.autograd.grad(loss.objective, leaves))


@EITHER
def test_under_autocast_products_are_bf16_and_sums_float32(parts, loss_of):
    features, weight, bias = (part.detach().float() for part in parts[:3])
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(features, weight, bias, parts[3], weights=R_DROP, smoothing=0.1)
    exact = loss_of(*parts, weights=R_DROP, smoothing=0.1)
    assert loss.objective.dtype is torch.float32
    torch.testing.assert_close(loss.objective.double(), exact.objective, rtol=2e-2, atol=0)
    assert loss.objective.double() != exact.objective


def test_differentiating_twice_is_refused_rather_than_wrong(parts):
    loss = fused.consistent_cross_entropy(*parts, weights=R_DROP)
    torch.autograd.grad(loss.objective, parts[:3], retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        torch.autograd.grad(loss.objective, parts[:3])


def test_no_gradients_are_made_where_none_are_asked_for(parts):
    with torch.no_grad():
        assert not fused.consistent_cross_entropy(*parts, weights=R_DROP).objective.requires_grad


def test_padding_for_a_gpu_changes_nothing(parts, monkeypatch):
    monkeypatch.setattr(fused, "pays", lambda x, dtype: True)
    loss = fused.consistent_cross_entropy(*parts, weights=UNEVEN, smoothing=0.1, chunk=4)
    expected = reference.consistent_cross_entropy(*parts, weights=UNEVEN, smoothing=0.1)
    torch.testing.assert_close(loss.objective, expected.objective)
    pairs = zip(*(torch.autograd.grad(each.objective, parts[:3]) for each in (loss, expected)), strict=True)
    for gradient, theirs in pairs:
        torch.testing.assert_close(gradient, theirs)
