"""Learning-rate schedules."""

from __future__ import annotations

import pytest
import torch

from secateur.learning_rate import cosine_factor, steps, warmup_cosine


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
