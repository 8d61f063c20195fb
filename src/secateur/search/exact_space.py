"""The exact space: every point is mapped to rates whose masks have the wanted size."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from secateur.errors import InputError
from secateur.search.levels import Levels
from secateur.search.placement import Placement

_SMALLEST = 1e-6
_WINDOW = 2  # levels that a group may move away from where the common factor puts it
_MOVES = 20_000


class ExactSpace:
    """Relative rates in the unit cube, scaled by a common factor until the target is met.

    The factor alone meets the target within one level of one group. What is left is made good by
    moving groups a level or two, to the rates nearest to the scaled ones whose masks are on target
    within one filter.

    Args:
        levels: Levels per group, up to the highest rate of each; groups without layers have no
            place here.
        target: Share of the network to remove, in (0, 1).
        start: Share that is gone before any rate.

    Raises:
        InputError: If the target is out of reach.
    """

    def __init__(self, levels: Mapping[str, Levels], target: float, start: float = 0.0) -> None:
        self.levels = dict(levels)
        self.target = target
        self.start = start
        self.check(target)
        self.tolerance = max(group.largest_filter for group in levels.values())
        # All thresholds of all groups but zero, to be met in the order of the common factor.
        self._rates = np.concatenate([group.thresholds[1:] for group in levels.values()])
        self._steps = np.concatenate([np.diff(group.removed) for group in levels.values()])
        sizes = [len(group.thresholds) - 1 for group in levels.values()]
        self._owner = np.repeat(np.arange(len(sizes)), sizes)

    def check(self, target: float) -> None:
        """Refuse a target that no rates can meet.

        Raises:
            InputError: If the target is below what is zero already or above the highest rates.
        """
        most = self.start + sum(float(group.removed[-1]) for group in self.levels.values())
        if not self.start < target <= most:
            raise InputError(
                f"target={target:g} is out of reach: rates of these groups give "
                f"{self.start:.3f} to {most:.3f}; change the target or space.highest_rate"
            )

    @property
    def variables(self) -> dict[str, tuple[float, float]]:
        """Bounds of what a sampler chooses, one relative rate per group."""
        return dict.fromkeys(self.levels, (0.0, 1.0))

    def place(self, point: Mapping[str, float]) -> Placement:
        """Rates on target for one point of the cube.

        Args:
            point: Relative rate per group, in [0, 1].

        Returns:
            The placement, always feasible.
        """
        return self.place_on(point, self.target)

    def place_on(self, point: Mapping[str, float], target: float) -> Placement:
        """Rates for one point of the cube on a target of its own."""
        relative = np.maximum([point[name] for name in self.levels], _SMALLEST)
        wanted = target - self.start
        factors = self._rates / relative[self._owner]
        order = np.argsort(factors, kind="stable")
        reached = np.cumsum(self._steps[order])
        last = min(int(np.searchsorted(reached, wanted)), len(order) - 1)
        factor = factors[order[last]]
        # A group that its highest rate has stopped leaves the rest to the others.
        highest = np.array([group.thresholds[-1] for group in self.levels.values()])
        scaled = np.minimum(relative * factor, highest)
        chosen = self._settle(scaled, wanted)
        rates = {
            name: _nearest(group.thresholds, level, rate)
            for (name, group), level, rate in zip(
                self.levels.items(), chosen, scaled.tolist(), strict=True
            )
        }
        removed = self.start + sum(
            float(group.removed[level])
            for group, level in zip(self.levels.values(), chosen, strict=True)
        )
        return Placement(rates=rates, removed=removed, penalty=0.0, feasible=True)

    def _settle(self, scaled: NDArray[np.float64], wanted: float) -> list[int]:
        """Levels near the scaled rates whose masks are on target within one filter."""
        groups = list(self.levels.values())
        centre = [group.of_rate(rate) for group, rate in zip(groups, scaled.tolist(), strict=True)]
        removed: NDArray[np.float64] = np.zeros(1)
        distance: NDArray[np.float64] = np.zeros(1)
        choices = []
        for group, level, rate, reach in zip(
            groups, centre, scaled, _reaches(len(groups)), strict=True
        ):
            options = np.arange(max(level - reach, 0), min(level + reach + 1, len(group.removed)))
            nearest = [_nearest(group.thresholds, int(option), float(rate)) for option in options]
            moved = (np.array(nearest) - rate) ** 2
            removed = (removed[:, None] + group.removed[options]).ravel()
            distance = (distance[:, None] + moved).ravel()
            choices.append(options)
        error = np.abs(removed - wanted)
        near = error <= self.tolerance
        if near.any():
            best = int(np.flatnonzero(near)[distance[near].argmin()])
        else:
            best = int(error.argmin())
        positions = np.unravel_index(best, [len(options) for options in choices])
        return [
            int(options[position]) for options, position in zip(choices, positions, strict=True)
        ]


def _reaches(n_groups: int) -> list[int]:
    """How far each group may move, so that the number of combinations stays small."""
    reaches = []
    combinations = 1
    for _ in range(n_groups):
        reach = _WINDOW if combinations * (2 * _WINDOW + 1) <= _MOVES else 0
        combinations *= 2 * reach + 1
        reaches.append(reach)
    return reaches


def _nearest(thresholds: NDArray[np.float64], level: int, rate: float) -> float:
    """The rate nearest to another one that gives a level, to the fourth decimal if that does."""
    low = float(thresholds[level])
    rate = max(rate, low)
    if level + 1 < len(thresholds):
        rate = min(rate, float(np.nextafter(thresholds[level + 1], 0.0)))
    short = math.floor(rate * 1e4) / 1e4
    return short if short >= low else rate
