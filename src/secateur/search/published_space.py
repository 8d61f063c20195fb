"""The published space: free rates below a bound, a band of sparsity and a penalty (B-FPGM)."""

from __future__ import annotations

from collections.abc import Mapping

from secateur.errors import InputError
from secateur.search.exact_space import Candidate
from secateur.search.rate_levels import Levels

BAND = 0.04
HIGHEST_RATE = 0.98
OUTSIDE = 100.0
PROBE = 0.04


class PublishedSpace:
    """Rates of groups as B-FPGM searches them (WACVW 2025 and its scripts).

    Args:
        levels: Levels per group, up to ``highest_rate(target)``.
        target: Wanted sparsity, in (0, 1).
        start: Sparsity before any rate.
        penalty_weight: Weight of the penalty in the objective: 5 for EResFD, 1 for EXTD.
        shortfall_weight: Penalty per unit of sparsity below the target within the band: 1 for
            EResFD, 5 for EXTD.

    Raises:
        InputError: If the target is no fraction.
    """

    def __init__(
        self,
        levels: Mapping[str, Levels],
        target: float,
        start: float = 0.0,
        penalty_weight: float = 5.0,
        shortfall_weight: float = 1.0,
    ) -> None:
        if not 0 < target < 1:
            raise InputError(f"target must be between 0 and 1, got {target:g}")
        self.levels = dict(levels)
        self.target = target
        self.start = start
        self.penalty_weight = penalty_weight
        self.shortfall_weight = shortfall_weight

    @property
    def variables(self) -> dict[str, tuple[float, float]]:
        """Bounds of what a sampler chooses, one rate per group."""
        return dict.fromkeys(self.levels, (0.0, highest_rate(self.target)))

    def decode(self, point: Mapping[str, float]) -> Candidate:
        """Weigh one point.

        Args:
            point: Rate per group.

        Returns:
            The candidate; infeasible outside the band, where the objective is the bare penalty.
        """
        rates = {name: float(point[name]) for name in self.levels}
        removed = self.start + sum(
            float(group.removed[group.of_rate(rates[name])]) for name, group in self.levels.items()
        )
        penalty = sparsity_penalty(removed, self.target, self.shortfall_weight)
        return Candidate(
            rates=rates,
            removed=removed,
            penalty=self.penalty_weight * penalty,
            feasible=penalty < OUTSIDE,
        )

    def probe(self) -> dict[str, float]:
        """The first point of every published search: a little more than the target everywhere."""
        return dict.fromkeys(self.levels, min(self.target + PROBE, highest_rate(self.target)))


def highest_rate(target: float) -> float:
    """Upper bound of every rate for a target."""
    return min(HIGHEST_RATE, target + 0.2)


def sparsity_penalty(sparsity: float, target: float, shortfall_weight: float = 1.0) -> float:
    """Penalty of a sparsity: 100 outside the band, 0 at or above the target within it.

    Args:
        sparsity: Sparsity of the masks, 0..1.
        target: Target sparsity, 0..1.
        shortfall_weight: Penalty per unit of sparsity below the target within the band.

    Returns:
        The penalty, not yet weighted.

    Example:
        >>> sparsity_penalty(0.31, 0.3), sparsity_penalty(0.5, 0.3)
        (0.0, 100.0)
    """
    difference = abs(sparsity - target)
    if difference >= BAND:
        return OUTSIDE
    return 0.0 if sparsity >= target else difference * shortfall_weight
