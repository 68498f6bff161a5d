import pytest
import torch

from nmt.layers.dropout import Dropout


@pytest.mark.parametrize("probability", [0.1, 0.35, 0.5, 0.9])
def test_the_share_that_is_dropped_and_the_mean_are_right(probability):
    torch.manual_seed(0)
    dropped = Dropout(probability)(torch.ones(300_001))
    assert (dropped == 0).float().mean().item() == pytest.approx(probability, abs=0.005)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert len(dropped.unique()) == 2


@pytest.mark.parametrize("probability", [1e-9, 0.999999])
def test_any_share_below_one_can_be_dropped(probability):
    assert Dropout(probability)(torch.ones(50)).isfinite().all()


def test_neighbors_are_dropped_independently():
    torch.manual_seed(0)
    zero = (Dropout(0.5)(torch.ones(400_000)) == 0).float() - 0.5
    for distance in (1, 2, 3, 4, 8):
        assert (zero[distance:] * zero[:-distance]).mean().abs() < 0.003


def test_the_gradient_passes_where_the_number_did():
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    dropped = Dropout(0.4)(x)
    (gradient,) = torch.autograd.grad(dropped.sum(), x)
    torch.testing.assert_close(gradient * x, dropped)


def test_evaluation_drops_nothing():
    x = torch.randn(5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_the_global_random_state_decides():
    x = torch.ones(100)
    drawn = []
    for _ in range(2):
        torch.manual_seed(7)
        drawn.append(Dropout(0.5)(x))
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], Dropout(0.5)(x))
