"""Linear layers of odd widths, padded as on a GPU, and the energies of attention under autocast."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from nmt.acceleration.fused import linear as padding
from nmt.acceleration.fused import loss as losses
from nmt.acceleration.fused.linear import PaddedLinear, linear, padded
from nmt.attention.scores import AttentionState, ScoreFunction, Source, build_attention


@pytest.fixture
def pays(monkeypatch):
    """As on a GPU in half precision."""
    for module in (padding, losses):
        monkeypatch.setattr(module, "pays", lambda x, dtype: True)


def test_rows_are_padded_with_zeros():
    x = torch.randn(3, 5)
    wide = padded(x, torch.bfloat16)
    assert wide.shape == (3, 8)
    assert torch.equal(wide[:, :5], x.bfloat16())
    assert not wide[:, 5:].any()


@pytest.mark.parametrize("biased", [True, False])
def test_a_padded_product_has_the_gradients_of_a_product(biased):
    torch.manual_seed(0)
    inputs, weight = torch.randn(3, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True) if biased else None
    leaves = [inputs.requires_grad_(), weight.requires_grad_(), bias, torch.float64]
    assert torch.autograd.gradcheck(PaddedLinear.apply, leaves)
    torch.testing.assert_close(PaddedLinear.apply(*leaves), functional.linear(inputs, weight, bias))


def test_a_linear_layer_of_odd_width_is_nn_linear(pays, monkeypatch):
    torch.manual_seed(0)
    layer, inputs = nn.Linear(5, 4), torch.randn(2, 3, 5)
    calls = []
    monkeypatch.setattr(padding, "padded", lambda *x, **more: calls.append(1) or padded(*x, **more))
    with torch.autocast("cpu", torch.bfloat16):
        made, expected = linear(layer, inputs), functional.linear(inputs, layer.weight, layer.bias)
    assert len(calls) == 2
    assert made.dtype is torch.bfloat16
    torch.testing.assert_close(made, expected, rtol=2e-2, atol=2e-2)
    linear(nn.Linear(8, 4), torch.randn(2, 8))
    assert len(calls) == 2  # what is a multiple of eight already is left alone


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_padded_operands_is_the_loss(pays, smoothing):
    torch.manual_seed(0)
    parts = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 4, 5), (13, 5), (13,))]
    targets = torch.randint(0, 13, (2, 4))
    made = losses.cross_entropy(parts[0], parts[1], parts[2], targets, smoothing=smoothing, chunk=3)
    grads = torch.autograd.grad(made.objective, parts)
    logits = functional.linear(parts[0], parts[1], parts[2]).flatten(0, 1)
    expected = functional.cross_entropy(
        logits, targets.flatten(), ignore_index=0, label_smoothing=smoothing, reduction="sum"
    )
    torch.testing.assert_close(made.objective, expected)
    for grad, other in zip(grads, torch.autograd.grad(expected, parts), strict=True):
        torch.testing.assert_close(grad, other)


@pytest.mark.parametrize("score", ScoreFunction)
def test_energies_are_float32_under_autocast(score):
    """What bfloat16 would round off large energies moves weights by a twentieth."""
    torch.manual_seed(0)
    attention = build_attention(score, 16, 16, 16)
    memory, hidden = 4 * torch.randn(2, 7, 16), 4 * torch.randn(2, 3, 16)
    mask = torch.ones(2, 7, dtype=torch.bool)
    state = AttentionState(*(field.unsqueeze(1).expand(2, 3, -1) for field in attention.initial_state(memory)))
    with torch.autocast("cpu", torch.bfloat16):
        keys, query = attention.project_keys(memory), attention.project_query(hidden)
        energies = attention.energies(query, keys, state)
        weights = attention(hidden, Source(memory, keys, mask), state).weights
    exact = attention.energies(query.float(), keys.float(), state)
    assert energies.dtype is weights.dtype is torch.float32
    torch.testing.assert_close(energies, exact, rtol=1e-5, atol=1e-5)
