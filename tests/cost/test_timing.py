from __future__ import annotations

import torch
from torch import Tensor, nn

from secateur.cost.latency import time_in_turn


class Tick(nn.Module):
    """Moves a clock on by as many seconds as its input says."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def forward(self, seconds: Tensor) -> None:
        self.now += float(seconds)


def test_every_run_is_timed_by_the_clock_that_is_given() -> None:
    model = Tick()
    forwards = [(model, (torch.tensor(seconds),)) for seconds in (2.0, 3.0)]
    assert time_in_turn(forwards, runs=3, clock=lambda: model.now) == [[2e3] * 3, [3e3] * 3]
    assert model.now == (2 + 3) * (3 + 1)
