"""Learning-rate schedules as functions of the training step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def cosine_factor(step: int, total_steps: int, warmup_steps: int, final: float) -> float:
    """Factor on the base learning rate: linear warm-up, then half a cosine down to ``final``.

    Args:
        step: Optimiser step, from 0.
        total_steps: Steps of the whole training; at least 1.
        warmup_steps: Steps of the linear rise; may be 0.
        final: Factor at the last step, in [0, 1].

    Returns:
        The factor, in (0, 1] as long as ``final`` is positive.

    Example:
        >>> [round(cosine_factor(s, 10, 2, 0.0), 3) for s in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * done))


def warmup_cosine(
    optimizer: Optimizer,
    total_steps: int,
    steps_per_epoch: int,
    warmup: float = 0.05,
    final: float = 0.01,
) -> LambdaLR:
    """Linear warm-up over a share of all steps, then a cosine to ``final`` times the base rate.

    Args:
        optimizer: Optimiser to steer.
        total_steps: Optimiser steps of the whole training.
        steps_per_epoch: Optimiser steps of one epoch.
        warmup: Share of the steps spent rising, in [0, 1).
        final: Factor at the end.

    Returns:
        A scheduler to be stepped after every optimiser step.
    """
    warmup_steps = int(warmup * total_steps)
    return LambdaLR(optimizer, lambda step: cosine_factor(step, total_steps, warmup_steps, final))


def step_factor(epoch: float, factors: Mapping[int, float]) -> float:
    """Factor of the last milestone that ``epoch`` has reached, 1 before the first.

    Example:
        >>> [step_factor(epoch, {100: 0.1, 200: 1.0}) for epoch in (0, 99.9, 100, 250)]
        [1.0, 1.0, 0.1, 1.0]
    """
    reached = [milestone for milestone in factors if milestone <= epoch]
    return float(factors[max(reached)]) if reached else 1.0


def steps(
    optimizer: Optimizer,
    total_steps: int,
    steps_per_epoch: int,
    factors: Mapping[int, float] | None = None,
    warmup_steps: int = 0,
    warmup_start: float = 0.001,
) -> LambdaLR:
    """Piecewise constant rate, as in the published recipes; no factors keep it constant.

    Args:
        optimizer: Optimiser to steer.
        total_steps: Optimiser steps of the whole training.
        steps_per_epoch: Optimiser steps of one epoch.
        factors: From which epoch on which factor on the base rate holds.
        warmup_steps: Steps of a linear rise at the start; may be 0.
        warmup_start: Factor of its first step.

    Returns:
        A scheduler to be stepped after every optimiser step.
    """
    table = {int(epoch): float(factor) for epoch, factor in (factors or {}).items()}

    def factor(step: int) -> float:
        rise = 1.0
        if step < warmup_steps:
            rise = warmup_start + (1 - warmup_start) * step / warmup_steps
        return rise * step_factor(step / steps_per_epoch, table)

    return LambdaLR(optimizer, factor)


class RatesOnPlateau:
    """A row of learning rates: the next one when a figure of validation stalls.

    torch's ReduceLROnPlateau multiplies by one factor; the recipe of Alonso-Fernandez et al.
    (0.01, 0.005, 0.001, 0.0001) has several.

    Args:
        optimizer: Optimiser to steer.
        total_steps: Optimiser steps of the whole training; not needed.
        steps_per_epoch: Optimiser steps of one epoch; not needed.
        rates: Learning rates, the first of which is set at once.
        patience: Validations without a new best before the next rate.
        monitor: Name of the figure.
        mode: ``min`` or ``max``: which is better.

    Raises:
        ValueError: If there is no rate, or the patience is below 1.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int,
        steps_per_epoch: int,
        rates: Sequence[float] = (0.01, 0.005, 0.001, 0.0001),
        patience: int = 2,
        monitor: str = "val/eer",
        mode: Literal["min", "max"] = "min",
    ) -> None:
        if not rates or patience < 1:
            raise ValueError(f"need a rate and a patience of at least 1: {rates}, {patience}")
        self.optimizer = optimizer
        self.rates = [float(rate) for rate in rates]
        self.patience = patience
        self.monitor = monitor
        self.sign = 1.0 if mode == "min" else -1.0
        self.best = math.inf
        self.stalled = 0
        self.position = 0
        self._set()

    def step(self, value: float) -> None:
        """Take the figure of one validation."""
        signed = self.sign * float(value)
        if signed < self.best:
            self.best, self.stalled = signed, 0
            return
        self.stalled += 1
        if self.stalled >= self.patience and self.position + 1 < len(self.rates):
            self.position, self.stalled = self.position + 1, 0
            self._set()

    def state_dict(self) -> dict[str, Any]:
        """Plain Python, loadable with ``weights_only=True``."""
        return {"best": self.best, "stalled": self.stalled, "position": self.position}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where a checkpoint stopped."""
        self.best = float(state_dict["best"])
        self.stalled, self.position = int(state_dict["stalled"]), int(state_dict["position"])
        self._set()

    def _set(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates[self.position]
