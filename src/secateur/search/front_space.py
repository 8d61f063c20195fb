"""The front space: the size is a variable too, for searches of size against quality."""

from __future__ import annotations

from collections.abc import Mapping

from secateur.errors import InputError
from secateur.search.exact_space import ExactSpace
from secateur.search.level_sizes import LevelSizes
from secateur.search.levels import Levels
from secateur.search.placement import Placement

SIZE = "size"


class FrontSpace:
    """The exact space with a target of its own for every point.

    Args:
        levels: Levels per group, up to the highest rate of each.
        target: Greatest share of the network to remove, in (0, 1).
        start: Share that is gone before any rate.
        lowest_target: Smallest share to remove.
        sizes: As for `ExactSpace`.

    Raises:
        InputError: If a target is out of reach, or a group is called like the variable.
    """

    def __init__(
        self,
        levels: Mapping[str, Levels],
        target: float,
        start: float = 0.0,
        lowest_target: float = 0.05,
        sizes: LevelSizes | None = None,
    ) -> None:
        if SIZE in levels:
            raise InputError(f"a group must not be called {SIZE!r} in a search of a front")
        self.exact = ExactSpace(levels, target, start, sizes)
        self.exact.check(lowest_target)
        self.lowest_target = lowest_target
        self.target = target

    @property
    def variables(self) -> dict[str, tuple[float, float]]:
        """Bounds of what a sampler chooses: one relative rate per group, and the size."""
        return {**self.exact.variables, SIZE: (self.lowest_target, self.target)}

    def place(self, point: Mapping[str, float]) -> Placement:
        """Rates for one point.

        Args:
            point: Relative rate per group in [0, 1], and the share to remove.

        Returns:
            The placement, always feasible.
        """
        return self.exact.place_on(point, point[SIZE])
