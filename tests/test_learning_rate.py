"""Learning-rate schedules."""

from __future__ import annotations

import pytest
import torch

from secateur.learning_rate import RatesOnPlateau, cosine_factor, steps, warmup_cosine


def test_cosine_rises_then_falls_to_its_final_factor() -> None:
    factors = [cosine_factor(step, 100, 10, 0.05) for step in range(101)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] == pytest.approx(0.05)


def test_schedulers_step_the_optimiser() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = steps(optimizer, total_steps=40, steps_per_epoch=10, factors={1: 0.1, 3: 1.0})
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1.0] * 10 + [0.1] * 20 + [1.0] * 10)


def test_scheduler_state_holds_no_objects() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    state = warmup_cosine(optimizer, 10, 5).state_dict()
    plain = (int, float, bool, str, list, type(None))
    assert all(isinstance(value, plain) for value in state.values())


def test_rates_on_plateau_go_down_one_by_one_and_survive_a_checkpoint() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5.0)
    scheduler = RatesOnPlateau(optimizer, 0, 0, rates=[0.01, 0.005, 0.001], patience=2)
    rates = []
    for value in (0.5, 0.4, 0.4, 0.41, 0.3, 0.35, float("nan"), 0.3, 0.3, 0.3):
        scheduler.step(value)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [0.01] * 3 + [0.005] * 3 + [0.001] * 4
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5.0)
    again = RatesOnPlateau(other, 0, 0, rates=[0.01, 0.005, 0.001], patience=2)
    again.load_state_dict(scheduler.state_dict())
    assert other.param_groups[0]["lr"] == 0.001
    assert again.state_dict() == scheduler.state_dict()


def test_rates_on_plateau_can_maximise() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5.0)
    scheduler = RatesOnPlateau(optimizer, 0, 0, rates=[1.0, 0.1], patience=1, mode="max")
    for value in (0.5, 0.6, 0.7):
        scheduler.step(value)
    assert optimizer.param_groups[0]["lr"] == 1.0
    scheduler.step(0.6)
    assert optimizer.param_groups[0]["lr"] == 0.1
    with pytest.raises(ValueError, match="rate"):
        RatesOnPlateau(optimizer, 0, 0, rates=[])
