"""Schedules at points computed by hand, the average of weights, and what weight decay leaves alone."""

import math

import numpy as np
import pytest
import torch

from nmt.training.optim import (
    EMA,
    OptimizerName,
    OptimizerOptions,
    Schedule,
    ScheduleName,
    ScheduleOptions,
    build_optimizer,
)


def scheduled(name: ScheduleName, level: float = 1.0, **options) -> Schedule:
    return Schedule(ScheduleOptions(name, **options), level)


def linear(weight: float) -> torch.nn.Linear:
    layer = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(layer.weight, weight)
    torch.nn.init.constant_(layer.bias, weight)
    return layer


@pytest.mark.parametrize(
    ("schedule", "update", "spent", "expected"),
    [
        (scheduled(ScheduleName.constant), 7, 0.9, 1.0),
        (scheduled(ScheduleName.constant, warmup=4), 1, 0.0, 0.25),
        (scheduled(ScheduleName.constant, warmup=4), 4, 0.0, 1.0),
        (scheduled(ScheduleName.inverse_sqrt, warmup=100), 50, 0.0, 0.5),
        (scheduled(ScheduleName.inverse_sqrt, warmup=100), 100, 0.0, 1.0),
        (scheduled(ScheduleName.inverse_sqrt, warmup=100), 400, 0.0, 0.5),
        (scheduled(ScheduleName.halving, constant_fraction=0.5, halvings=5), 1, 0.49, 1.0),
        (scheduled(ScheduleName.halving, constant_fraction=0.5, halvings=5), 1, 0.5, 0.5),
        (scheduled(ScheduleName.halving, constant_fraction=0.5, halvings=5), 1, 0.59, 0.5),
        *(
            (scheduled(ScheduleName.halving, constant_fraction=0.5, halvings=5), 1, spent, 0.5 ** (k + 1))
            for k in range(5)
            for spent in (0.5 + k / 10, float(np.float32(0.5 + k / 10)))  # with several ranks, it is a float32
        ),
        (scheduled(ScheduleName.halving, constant_fraction=0.5, halvings=5), 1, 0.61, 0.25),
        (scheduled(ScheduleName.halving, constant_fraction=0.5, halvings=5), 1, 1.0, 1 / 32),
        (scheduled(ScheduleName.linear), 1, 0.25, 0.75),
        (scheduled(ScheduleName.linear, constant_fraction=0.5, min_factor=0.1), 1, 0.5, 1.0),
        (scheduled(ScheduleName.linear, constant_fraction=0.5, min_factor=0.1), 1, 0.75, 0.55),
        (scheduled(ScheduleName.linear, constant_fraction=0.5, min_factor=0.1), 1, 1.0, 0.1),
        (scheduled(ScheduleName.cosine), 1, 0.5, 0.5),
        (scheduled(ScheduleName.cosine, min_factor=0.2), 1, 1.0, 0.2),
        (scheduled(ScheduleName.cosine), 1, 1 / 3, 0.75),
        (scheduled(ScheduleName.plateau, level=0.125), 9, 0.9, 0.125),
    ],
)
def test_schedules_are_what_one_computes_by_hand(schedule, update, spent, expected):
    assert schedule.scale(update, spent) == pytest.approx(expected, rel=1e-12)


def test_a_plateau_lowers_the_rate_after_patience_and_starts_waiting_anew():
    plateau = scheduled(ScheduleName.plateau, factor=0.5, patience=1)
    levels = []
    for loss in (3.0, 3.1, 3.2, 2.9, 2.9, 2.95, 2.95, 2.95):
        plateau.on_validation(loss)
        levels.append(plateau.level)
    assert levels == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_a_plateau_is_taken_up_where_it_was():
    one, two = (scheduled(ScheduleName.plateau, factor=0.5, patience=1) for _ in range(2))
    two.load_state_dict(one.state_dict())
    for loss in (3.0, 3.1, 3.2, 3.3):
        one.on_validation(loss)
        other = scheduled(ScheduleName.plateau, factor=0.5, patience=1)
        other.load_state_dict(two.state_dict())
        other.on_validation(loss)
        two = other
    assert two == one
    assert math.isinf(scheduled(ScheduleName.plateau).best)


@pytest.mark.parametrize("memory", [None, {}, {"level": "x", "waited": 0, "best": 1.0}, [1]])
def test_what_is_no_memory_of_a_schedule_is_refused(memory):
    with pytest.raises(ValueError, match="no memory of the schedule"):
        scheduled(ScheduleName.plateau).load_state_dict(memory)


def test_the_ema_is_what_one_computes_by_hand():
    layer = linear(1.0)
    ema = EMA(layer, 0.5)
    with torch.no_grad():
        layer.weight.fill_(3.0)
    ema.update(1)  # min(0.5, 2 / 11): 2/11 of the old, 9/11 of the new
    assert torch.allclose(ema.weights["weight"], torch.tensor(2 / 11 + 3 * 9 / 11))
    ema.update(1000)
    assert torch.allclose(ema.weights["weight"], torch.tensor((2 / 11 + 3 * 9 / 11 + 3) / 2))
    assert torch.equal(ema.weights["bias"], torch.ones(1))


def test_weights_and_ema_swap_exactly_and_back_even_after_an_error():
    layer = torch.nn.Linear(5, 3)
    ema = EMA(layer, 0.9)
    own = layer.weight.detach().clone()
    held = ema.weights["weight"].mul_(1.7).clone()

    def fail() -> None:
        with ema.swapped():
            assert torch.equal(layer.weight, held)
            assert torch.equal(ema.weights["weight"], own)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(layer.weight, own)
    assert torch.equal(ema.weights["weight"], held)


@pytest.mark.parametrize("name", OptimizerName)
def test_every_optimizer_moves_the_weights_downhill(name):
    layer = linear(1.0)
    optimizer = build_optimizer(layer, OptimizerOptions(name, lr=0.1, beta2=0.98, eps=1e-6, momentum=0.9))
    for _ in range(3):
        optimizer.zero_grad()
        (layer(torch.ones(1, 2)) ** 2).sum().backward()
        optimizer.step()
    assert (layer.weight < 1.0).all()


def test_weight_decay_leaves_biases_alone():
    layer = linear(1.0)
    optimizer = build_optimizer(
        layer, OptimizerOptions(OptimizerName.adamw, lr=0.1, beta2=0.98, eps=1e-6, weight_decay=0.5)
    )
    layer.weight.grad, layer.bias.grad = torch.zeros(1, 2), torch.zeros(1)
    optimizer.step()
    assert torch.allclose(layer.weight, torch.full((1, 2), 0.95))
    assert torch.equal(layer.bias, torch.ones(1))
