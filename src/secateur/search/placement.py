"""A placement: what a space makes of one sampled point."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placement:
    """Rates and how they stand to the target.

    Attributes:
        rates: Rate per group, in [0, 1).
        removed: Share of the network that goes with them, counted before any training.
        penalty: What the objective loses for missing the target, already weighted.
        feasible: Whether the rates are worth an evaluation.
    """

    rates: dict[str, float]
    removed: float
    penalty: float
    feasible: bool

    def objective(self, quality: float) -> float:
        """The maximised figure for a quality; what is infeasible has none."""
        return quality - self.penalty if self.feasible else -self.penalty
