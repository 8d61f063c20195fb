"""Learning-rate schedules as functions of the training step."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    steps_per_epoch: int,  # noqa: ARG001 - every schedule takes both
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
    return LambdaLR(
        optimizer, lambda step: cosine_factor(step, total_steps, warmup_steps, final)
    )


def step_decay(
    optimizer: Optimizer,
    total_steps: int,  # noqa: ARG001 - every schedule takes both
    steps_per_epoch: int,
    milestones: Sequence[float] = (),
    gamma: float = 0.1,
) -> LambdaLR:
    """Multiply the rate by ``gamma`` at each milestone, as the published recipes do.

    Args:
        optimizer: Optimiser to steer.
        total_steps: Optimiser steps of the whole training.
        steps_per_epoch: Optimiser steps of one epoch.
        milestones: Epochs after which the rate falls.
        gamma: Factor of each fall.

    Returns:
        A scheduler to be stepped after every optimiser step.
    """
    steps = [milestone * steps_per_epoch for milestone in milestones]
    return LambdaLR(optimizer, lambda step: float(gamma ** sum(step >= at for at in steps)))
