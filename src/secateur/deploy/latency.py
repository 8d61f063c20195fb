"""Latency: how long one forward takes, several networks measured in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secateur.timing import device_of, time_in_turn


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one forward.

    Args:
        median_ms: Median in milliseconds.
        low_ms: 10th percentile.
        high_ms: 90th percentile.
        runs: Timed forwards.
        threads: CPU threads that one operator may use.
        device: Where it ran, such as ``cpu``.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    runs: int
    threads: int
    device: str


def measure_side_by_side(
    models: Mapping[str, nn.Module],
    example_inputs: Tensor | Sequence[Any],
    *,
    runs: int = 50,
    warmup: int = 5,
    threads: int = 1,
    max_seconds: float = 20.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Latency]:
    """Time several networks on the same input, one run of each in turn.

    Args:
        models: Networks by name, on the device of the input.
        example_inputs: One input tensor or the arguments of the forward.
        runs: Timed forwards of each network.
        warmup: Forwards of each network before that.
        threads: CPU threads that one operator may use while this measures.
        max_seconds: Stop after this time, but not before five runs.
        clock: Seconds that pass, as for ``time_in_turn``.

    Returns:
        Latency per network.

    Raises:
        ValueError: If a number is below 1.
    """
    if min(runs, threads) < 1 or warmup < 0:
        raise ValueError(f"runs={runs} and threads={threads} must be at least 1, warmup={warmup} 0")
    arguments = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    times = time_in_turn(
        [(model, arguments) for model in models.values()],
        runs=runs,
        warmup=warmup,
        threads=threads,
        max_seconds=max_seconds,
        clock=clock,
    )
    device = device_of(arguments)
    return {
        name: _summarise(values, threads, device)
        for name, values in zip(models, times, strict=True)
    }


def _summarise(values: list[float], threads: int, device: torch.device) -> Latency:
    quantiles = torch.tensor(values, dtype=torch.float64).quantile(
        torch.tensor([0.5, 0.1, 0.9], dtype=torch.float64)
    )
    median, low, high = quantiles.tolist()
    return Latency(median, low, high, len(values), threads, str(device))
