"""Timing of anything that can be called, in turn, so that drift of the machine cancels."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

_FEWEST_RUNS = 5
QUANTILES = {"p10": 0.1, "median": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Timing:
    """Time of one call, in milliseconds.

    Attributes:
        wall: Time that passed, by the names of ``QUANTILES``.
        processor: Median time that all threads of the process computed.
        runs: Timed calls.
    """

    wall: Mapping[str, float]
    processor: float
    runs: int

    @property
    def per_second(self) -> float:
        """Calls per second at the median."""
        return 1e3 / self.wall["median"]


def time_calls(
    calls: Mapping[str, Callable[[], object]],
    *,
    runs: int = 50,
    warmup: int = 3,
    max_seconds: float = 60.0,
    clock: Callable[[], float] = time.perf_counter,
    processor_clock: Callable[[], float] = time.process_time,
) -> dict[str, Timing]:
    """Time calls, one of each in turn; the order turns round after every round.

    A machine that slows down for a while then slows all of them down, and their ratio holds.

    Args:
        calls: What to time, by name.
        runs: Timed calls of each.
        warmup: Calls of each before that.
        max_seconds: Stop after this time, but not before five rounds.
        clock: Seconds that pass.
        processor_clock: Seconds that all threads of the process have computed.

    Raises:
        ValueError: If there is nothing to time, or a number is below its least value.
    """
    if not calls or runs < 1 or warmup < 0:
        raise ValueError(f"nothing to time: {len(calls)} calls, runs={runs}, warmup={warmup}")
    for call in calls.values():
        for _ in range(warmup):
            call()
    order = list(calls)
    wall: dict[str, list[float]] = {name: [] for name in order}
    busy: dict[str, list[float]] = {name: [] for name in order}
    until = clock() + max_seconds
    for done in range(runs):
        if done >= _FEWEST_RUNS and clock() > until:
            break
        for name in order:
            began, computed = clock(), processor_clock()
            calls[name]()
            wall[name].append(1e3 * (clock() - began))
            busy[name].append(1e3 * (processor_clock() - computed))
        order.reverse()
    return {
        name: Timing(
            {key: float(np.quantile(wall[name], q)) for key, q in QUANTILES.items()},
            float(np.median(busy[name])),
            len(wall[name]),
        )
        for name in calls
    }
