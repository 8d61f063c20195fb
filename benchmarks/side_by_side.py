"""Time ways of doing the same thing in turn, so that a slow moment hits all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Comparison:
    """Median milliseconds of ours and of the reference.

    Attributes:
        what: What was done.
        ours_ms: Median time of our way.
        reference_ms: Median time of the other way.
        reference: What the other way is.
    """

    what: str
    ours_ms: float
    reference_ms: float
    reference: str

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.reference_ms / self.ours_ms


def compare(
    what: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    reference: str,
    repeats: int = 7,
) -> Comparison:
    """Run both in turn, A B A B, after one warm-up of each.

    What counts is the processor time of this thread, so both have to keep to it: then other work
    on the machine disturbs little.

    Args:
        what: What is done, for the table.
        ours: Our way.
        theirs: The reference.
        reference: Name of the reference, for the table.
        repeats: Timed runs of each.

    Returns:
        Medians of both.
    """
    times: tuple[list[float], list[float]] = ([], [])
    ours()
    theirs()
    for _ in range(repeats):
        for function, record in ((ours, times[0]), (theirs, times[1])):
            started = time.thread_time()
            function()
            record.append(1e3 * (time.thread_time() - started))
    return Comparison(what, statistics.median(times[0]), statistics.median(times[1]), reference)


def least_times(calls: Mapping[str, Callable[[], object]], rounds: int = 60) -> dict[str, float]:
    """Milliseconds of processor time of this thread, all calls in turn.

    The tenth percentile, because what else runs on the machine only adds: it empties caches and
    slows the clock. Calls of over 100 ms are timed in every sixth round alone.

    Args:
        calls: What to time, by name; none may share its work among threads.
        rounds: How often.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
        call()
    for number in range(rounds):
        for name, call in calls.items():
            if number % 6 and min(times[name]) > 100:
                continue
            started = time.thread_time()
            call()
            times[name].append(1e3 * (time.thread_time() - started))
    return {name: statistics.quantiles(values, n=10)[0] for name, values in times.items()}
