"""Targets of latency: solved from a table, which slim networks that are measured correct."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from secateur.pruning.latency_table import LatencyTable
from secateur.pruning.targets import Target, solve, unreachable

_CORRECTIONS = 3
_CLOSE = 0.01  # of the dense time; two measurements of one network may differ by as much

Shapes = Mapping[str, tuple[int, ...]]


class LatencyTarget:
    """Finds how much to remove for a share of the dense time.

    Args:
        table: What is known of the network; it is corrected once, in the first ``solve``.
    """

    def __init__(self, table: LatencyTable) -> None:
        self.table = table
        self._is_corrected = False

    def solve(
        self,
        shapes: Callable[[int], Shapes],
        measure: Callable[[int], float],
        most: int,
        target: Target,
    ) -> int:
        """How many filters or sets to remove to come closest to a target.

        The first time the network without all that may go is measured, and then the one that the
        table calls right, until one comes out close. Later calls, for other weights of the
        network, take the table as it is by then.

        Args:
            shapes: Shape of every weight that slimming leaves without the first n.
            measure: Slims the network without the first n, and measures the share of the dense
                time that it takes.
            most: How many may go.
            target: What is wanted.

        Raises:
            InputError: If even ``most`` are not enough.
        """
        shapes = functools.cache(shapes)

        def remaining(number: int) -> float:
            return self.table.milliseconds(shapes(number)) / self.table.dense_ms

        def correct(number: int) -> float:
            share = measure(number)
            self.table = self.table.with_network(shapes(number), share * self.table.dense_ms)
            return share

        if self._is_corrected:
            return solve(remaining, most, target)
        if (smallest := correct(most)) > target.value:
            _, written = self.table.within(shapes(most))
            beyond = float(self.table.beyond_ms(written)) / self.table.dense_ms
            why = (
                f", {beyond:.3f} of it outside of layers, and calling operators takes time however "
                "few channels they have"
            )
            raise unreachable(target, smallest, why)
        self._is_corrected = True
        number = solve(remaining, most, target)
        for _ in range(_CORRECTIONS):
            if abs(correct(number) - target.value) <= _CLOSE:
                break
            number = solve(remaining, most, target)
        return number
