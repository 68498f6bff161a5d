"""Budgets: which of them ends a run and when, and how much is spent."""

import pytest

from nmt.training.budget import Budget


def test_the_budget_most_spent_counts():
    budget = Budget(100, 4.0, 10.0, started=1000.0)
    assert budget.spent(50, 1.0, 1060.0) == 0.5
    assert budget.spent(50, 3.0, 1060.0) == 0.75
    assert budget.spent(50, 1.0, 1540.0) == 0.9
    assert budget.spent(500, 9.0, 9999.0) == 1.0


def test_no_budget_is_never_spent():
    assert Budget(None, None, None, started=0.0).spent(10**9, 1e9, 1e9) == 0.0


def test_updates_and_epochs_end_a_run_by_name():
    budget = Budget(100, 2.0, None, started=0.0)
    assert budget.ended_by(99, 1.99) == ""
    assert budget.ended_by(100, 1.0) == "trainer.max_updates"
    assert budget.ended_by(99, 2.0) == "trainer.max_epochs"


def test_time_is_up_early_enough_for_what_comes_last():
    budget = Budget(None, None, 10.0, started=1000.0, validation=50.0)
    assert not budget.time_is_up(1543.0)
    assert budget.time_is_up(1544.0)
    assert budget.spent(0, 0.0, 1272.0) == 0.5


def test_the_minutes_of_a_run_go_on_where_an_earlier_process_left_off():
    budget = Budget(None, None, 10.0, started=1000.0, before=540.0)
    assert budget.seconds(1030.0) == 570.0
    assert budget.spent(0, 0.0, 1030.0) == pytest.approx(0.95)
    assert budget.time_is_up(1060.0)


def test_the_time_of_calibrating_is_reserved_unless_it_is_too_much():
    budget = Budget(None, None, 10.0, started=0.0, calibration_cost=6.0)
    budget.validation = 2.0
    assert budget.reserve == pytest.approx(2.2 + 1 + 12)
    assert budget.can_calibrate(587.9)
    assert not budget.can_calibrate(588.1)
    budget.validation = 20.0
    assert budget.reserve == pytest.approx(22 + 1)
    assert budget.can_calibrate(479.9)
    assert not budget.can_calibrate(480.1)


def test_a_run_without_minutes_can_always_calibrate():
    budget = Budget(100, None, None, started=0.0, calibration_cost=6.0, validation=2.0)
    assert budget.can_calibrate(1e9)


def test_a_quarter_of_the_minutes_may_pass_before_the_first_validation():
    budget = Budget(None, None, 10.0, started=0.0)
    assert not budget.first_validation_due(149.0)
    assert budget.first_validation_due(150.0)
    assert not Budget(100, None, None, started=0.0).first_validation_due(1e9)
