import math

import pytest
import torch

from nmt.attention.normalizers import Normalizer, entmax, entmax_backward, normalize, sparsemax, sparsemax_backward

SPARSE = [Normalizer.sparsemax, Normalizer.entmax]
FUNCTIONS = {Normalizer.sparsemax: sparsemax, Normalizer.entmax: entmax}


def random_rows(*shape: int) -> torch.Tensor:
    """Rows of many scales: some give one weight, some give all."""
    rows = torch.randn(*shape, dtype=torch.float64)
    return rows * torch.logspace(-2, 2, shape[-2], dtype=torch.float64).unsqueeze(-1)


def by_bisection(energies: torch.Tensor, power: int) -> torch.Tensor:
    """max(0, energy / power - tau) ** power, whose rows sum to one: tau by halving the interval that holds it."""
    scaled = energies / power
    low, high = scaled.amax(-1, keepdim=True) - 1, scaled.amax(-1, keepdim=True)
    for _ in range(100):
        tau = (low + high) / 2
        too_low = (scaled - tau).clamp_min(0).pow(power).sum(-1, keepdim=True) > 1
        low, high = torch.where(too_low, tau, low), torch.where(too_low, high, tau)
    return (scaled - high).clamp_min(0).pow(power)


def test_sparsemax_by_hand():
    """Two in the support: (1 + 0.5 - 1) / 2 = 0.25 is the threshold."""
    weights = sparsemax(torch.tensor([1.0, 0.5, -1.0]))
    torch.testing.assert_close(weights, torch.tensor([0.75, 0.25, 0.0]))
    assert weights[2] == 0


def test_entmax_by_hand():
    """Halved, 0.5 and 0: (0.5 - tau)^2 + tau^2 = 1 has the root tau = (1 - sqrt(7)) / 4."""
    tau = (1 - math.sqrt(7)) / 4
    weights = entmax(torch.tensor([1.0, 0.0, -3.0], dtype=torch.float64))
    torch.testing.assert_close(weights, torch.tensor([(0.5 - tau) ** 2, tau**2, 0.0], dtype=torch.float64))
    assert weights[2] == 0


@pytest.mark.parametrize(("function", "power"), [(sparsemax, 1), (entmax, 2)])
@pytest.mark.parametrize("positions", [1, 2, 7, 60])
def test_the_threshold_is_the_one_that_bisection_finds(function, power, positions):
    energies = random_rows(40, 9, positions)
    torch.testing.assert_close(function(energies), by_bisection(energies, power), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("function", [sparsemax, entmax])
def test_equal_energies_share_evenly(function):
    torch.testing.assert_close(function(torch.zeros(3, 8)), torch.full((3, 8), 1 / 8))


@pytest.mark.parametrize("normalizer", SPARSE)
def test_gradcheck_with_padding(normalizer):
    energies = (0.7 * torch.randn(3, 2, 6, dtype=torch.float64)).requires_grad_()
    mask = torch.arange(6) < torch.tensor([6, 3, 1]).unsqueeze(1)
    assert torch.autograd.gradcheck(lambda energies: normalize(normalizer, energies, mask), energies)


@pytest.mark.parametrize(("function", "backward"), [(sparsemax, sparsemax_backward), (entmax, entmax_backward)])
def test_what_is_added_to_a_whole_row_changes_nothing(function, backward):
    energies, gradient = random_rows(4, 5, 9), torch.randn(4, 5, 9, dtype=torch.float64)
    torch.testing.assert_close(function(energies + 11), function(energies))
    torch.testing.assert_close(backward(function(energies), gradient).sum(-1), torch.zeros(4, 5, dtype=torch.float64))


@pytest.mark.parametrize("normalizer", Normalizer)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_rows_sum_to_one_and_padding_gets_exactly_zero(normalizer, dtype):
    energies = torch.cat((random_rows(2, 9, 5), torch.full((2, 1, 5), 3e4), torch.full((2, 1, 5), -3e4)), 1).to(dtype)
    mask = torch.tensor([[True, True, True, False, False], [True, False, False, False, False]])
    weights = normalize(normalizer, energies, mask)
    assert weights.dtype is torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 11, dtype=weights.dtype))
    assert (weights[0, :, 3:] == 0).all()
    assert (weights[1, :, 0] == 1).all()
    assert (weights[1, :, 1:] == 0).all()


@pytest.mark.parametrize("normalizer", SPARSE)
def test_far_energies_get_exactly_zero_and_softmax_gives_them_some(normalizer):
    energies, mask = torch.tensor([[[3.0, 2.9, -4.0]]]), torch.ones(1, 3, dtype=torch.bool)
    assert normalize(normalizer, energies, mask)[0, 0, 2] == 0
    assert normalize(Normalizer.softmax, energies, mask)[0, 0, 2] > 0


def test_entmax_lies_between_softmax_and_sparsemax():
    energies, mask = torch.tensor([[[1.0, 0.2, -0.4, -0.9]]]), torch.ones(1, 4, dtype=torch.bool)
    largest = [normalize(normalizer, energies, mask)[0, 0, 0].item() for normalizer in Normalizer]
    soft, sparse, between = largest
    assert soft < between < sparse


def test_an_unknown_normalizer_lists_the_legal_ones():
    with pytest.raises(ValueError, match="softmax, sparsemax, entmax"):
        normalize("softmin", torch.zeros(1, 1, 2), torch.ones(1, 2, dtype=torch.bool))  # type: ignore[arg-type]
