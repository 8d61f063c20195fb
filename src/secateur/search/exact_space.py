"""The exact space: every point is mapped to rates whose masks have the wanted size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.errors import InputError
from secateur.pruning.ranking import ROUNDING
from secateur.search.level_sizes import AdditiveSizes, LevelSizes
from secateur.search.rate_levels import Levels

_SMALLEST = 1e-6

_WINDOW = 2  # levels that a group may move away from where the common factor puts it

_MOVES = 20_000

_MOVES_TOGETHER = 1_000  # where sizes are not a sum over groups and so cost more

_CORRECTIONS = 6

_NEAR = 0.002  # of the network


class ExactSpace:
    """Relative rates in the unit cube, scaled by a common factor until the target is met.

    The factor, found by bisection along the ray of the point, meets the target within one level
    of one group. What is left is made good by moving groups a level or two, to the rates nearest
    to the scaled ones whose masks are on target within one filter. Where sizes are only estimated,
    the aim is then shifted by what the estimate was wrong by.

    Args:
        levels: Levels per group, up to the highest rate of each; groups without layers have no
            place here.
        target: Share of the network to remove, in (0, 1).
        start: Share that is zero before any rate.
        sizes: Share removed at levels of the groups; None adds up what each removes on its own.

    Raises:
        InputError: If the target is out of reach.
    """

    def __init__(
        self,
        levels: Mapping[str, Levels],
        target: float,
        start: float = 0.0,
        sizes: LevelSizes | None = None,
    ) -> None:
        self.levels = dict(levels)
        self.target = target
        self.start = start
        self.sizes: LevelSizes = AdditiveSizes(levels, start) if sizes is None else sizes
        self._most = _MOVES if sizes is None else _MOVES_TOGETHER
        self.tolerance = self.sizes.largest_filter
        # A filter of the first layers may take percents of all MACs: others can do better.
        self._near = self.tolerance if sizes is None else min(self.tolerance, _NEAR)
        self.check(target)
        self._highest = np.array([group.thresholds[-1] for group in levels.values()])
        # All thresholds of all groups but zero, to be met in the order of the common factor.
        self._rates = np.concatenate([group.thresholds[1:] for group in levels.values()])
        sizes_of_groups = [len(group.thresholds) - 1 for group in levels.values()]
        self._owner = np.repeat(np.arange(len(sizes_of_groups)), sizes_of_groups)

    def check(self, target: float) -> None:
        """Refuse a target that no rates can meet.

        Raises:
            InputError: If the target is below what is zero already or above the highest rates.
        """
        most = self.sizes.measure([len(group.thresholds) - 1 for group in self.levels.values()])
        if not self.start < target <= most:
            raise InputError(
                f"removing a share of {target:.3f} is out of reach: rates of these groups remove "
                f"{self.start:.3f} to {most:.3f}; change the target or space.highest_rate"
            )

    @property
    def variables(self) -> dict[str, tuple[float, float]]:
        """Bounds of what a sampler chooses, one relative rate per group."""
        return dict.fromkeys(self.levels, (0.0, 1.0))

    def decode(self, point: Mapping[str, float]) -> Candidate:
        """Rates on target for one point of the cube.

        Args:
            point: Relative rate per group, in [0, 1].

        Returns:
            The candidate, always feasible.
        """
        return self.decode_at(point, self.target)

    def decode_at(self, point: Mapping[str, float], target: float) -> Candidate:
        """Rates for one point of the cube on a target of its own."""
        relative = np.maximum([point[name] for name in self.levels], _SMALLEST)
        factors = np.sort(self._rates / relative[self._owner], kind="stable")
        aim = target
        found: list[tuple[float, list[int], NDArray[np.float64]]] = []
        for _ in range(1 if self.sizes.is_exact else _CORRECTIONS):
            scaled = self._scale(relative, factors, aim)
            chosen = self._adjust_levels(scaled, aim)
            if self.sizes.is_exact:
                removed = float(self.sizes.estimate(np.array([chosen]))[0])
            else:
                removed = self.sizes.measure(chosen)
            found.append((removed, chosen, scaled))
            if abs(removed - target) <= self._near:
                break
            aim += target - removed
        removed, chosen, scaled = min(found, key=lambda placed: abs(placed[0] - target))
        rates = {
            name: _nearest(group.thresholds, level, rate)
            for (name, group), level, rate in zip(
                self.levels.items(), chosen, scaled.tolist(), strict=True
            )
        }
        return Candidate(rates=rates, removed=removed, penalty=0.0, feasible=True)

    def _scale(
        self, relative: NDArray[np.float64], factors: NDArray[np.float64], aim: float
    ) -> NDArray[np.float64]:
        """Rates at the smallest common factor that removes as much as is wanted, or at the last."""
        low, high = 0, len(factors) - 1
        while low < high:
            middle = (low + high) // 2
            rates = np.minimum(relative * factors[middle] * (1 + 1e-12), self._highest)
            reached = self.sizes.estimate(np.array([self._levels_of(rates)]))[0]
            low, high = (low, middle) if reached >= aim else (middle + 1, high)
        # A group that its highest rate has stopped leaves the rest to the others.
        scaled: NDArray[np.float64] = np.minimum(relative * factors[low], self._highest)
        return scaled

    def _levels_of(self, rates: NDArray[np.float64]) -> list[int]:
        return [
            group.of_rate(rate)
            for group, rate in zip(self.levels.values(), rates.tolist(), strict=True)
        ]

    def _adjust_levels(self, scaled: NDArray[np.float64], aim: float) -> list[int]:
        """Levels near the scaled rates whose masks are on target within one filter."""
        groups = list(self.levels.values())
        centre = self._levels_of(scaled)
        distance: NDArray[np.float64] = np.zeros(1)
        choices = []
        for group, level, rate, reach in zip(
            groups, centre, scaled, _reaches(len(groups), self._most), strict=True
        ):
            options = np.arange(
                max(level - reach, 0), min(level + reach + 1, len(group.thresholds))
            )
            nearest = [_nearest(group.thresholds, int(option), float(rate)) for option in options]
            distance = (distance[:, None] + (np.array(nearest) - rate) ** 2).ravel()
            choices.append(options)
        combinations = np.stack(np.meshgrid(*choices, indexing="ij"), -1).reshape(-1, len(groups))
        error = np.abs(self.sizes.estimate(combinations) - aim)
        near = error <= self._near
        if near.any():
            best = int(np.flatnonzero(near)[distance[near].argmin()])
        else:
            best = int(error.argmin())
        return [int(level) for level in combinations[best]]


def _reaches(n_groups: int, most: int) -> list[int]:
    """How far each group may move, so that the number of combinations stays small."""
    for window in range(_WINDOW, 0, -1):
        if (2 * window + 1) ** n_groups <= most:
            return [window] * n_groups
    reaches = []
    combinations = 1
    for _ in range(n_groups):
        reach = 1 if combinations * 3 <= most else 0
        combinations *= 2 * reach + 1
        reaches.append(reach)
    return reaches


def _nearest(thresholds: NDArray[np.float64], level: int, rate: float) -> float:
    """The rate nearest to another one that gives a level, to the fourth decimal if that does."""
    low = float(thresholds[level])
    rate = max(rate, low)
    if level + 1 < len(thresholds):
        # what is closer than that is rounded to the next level
        rate = min(rate, float(thresholds[level + 1]) - 2 * ROUNDING)
    short = math.floor(rate * 1e4) / 1e4
    return short if short >= low else rate


@dataclass(frozen=True, slots=True)
class Candidate:
    """Rates that a trial may try, with the share they remove and the penalty for it.

    Attributes:
        rates: Rate per group, in [0, 1).
        removed: Share of the network that they remove, counted before any training.
        penalty: Weighted penalty for missing the target; it is subtracted from the quality.
        feasible: Whether the rates are worth an evaluation.
    """

    rates: dict[str, float]
    removed: float
    penalty: float
    feasible: bool

    def objective(self, quality: float) -> float:
        """The figure to maximize: quality less penalty; for infeasible rates, the penalty alone."""
        return quality - self.penalty if self.feasible else -self.penalty


SIZE = "size"


class FrontSpace:
    """The exact space with a target of its own for every point.

    Args:
        levels: Levels per group, up to the highest rate of each.
        target: Greatest share of the network to remove, in (0, 1).
        start: Share that is zero before any rate.
        lowest_removed: Smallest share to remove.
        sizes: As for `ExactSpace`.

    Raises:
        InputError: If a target is out of reach, or a group is called like the variable.
    """

    def __init__(
        self,
        levels: Mapping[str, Levels],
        target: float,
        start: float = 0.0,
        lowest_removed: float = 0.05,
        sizes: LevelSizes | None = None,
    ) -> None:
        if SIZE in levels:
            raise InputError(f"a group must not be called {SIZE!r} in a search of a front")
        self.exact = ExactSpace(levels, target, start, sizes)
        self.exact.check(lowest_removed)
        self.lowest_removed = lowest_removed
        self.target = target

    @property
    def variables(self) -> dict[str, tuple[float, float]]:
        """Bounds of what a sampler chooses: one relative rate per group, and the size."""
        return {**self.exact.variables, SIZE: (self.lowest_removed, self.target)}

    def decode(self, point: Mapping[str, float]) -> Candidate:
        """Rates for one point.

        Args:
            point: Relative rate per group in [0, 1], and the share to remove.

        Returns:
            The placement, always feasible.
        """
        return self.exact.decode_at(point, point[SIZE])
