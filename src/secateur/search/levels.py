"""Levels: the few different masks that the rate of a group can give, and what each removes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateur.pruning.plan import number_to_prune


class Sizes(Protocol):
    """Share of the network that is removed at levels of its groups."""

    largest_filter: float

    def estimate(self, levels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share removed (B,) at levels (B, G)."""


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Masks of one group by rising rate; between two thresholds the masks are the same.

    Attributes:
        layers: Names of the layers.
        thresholds: (L,) lowest rate of each level, rising, the first is 0.
        removed: (L,) share of the network that goes, rising, the first is 0.
        largest_filter: Greatest share that one filter of the group takes.
    """

    layers: tuple[str, ...]
    thresholds: NDArray[np.float64]
    removed: NDArray[np.float64]
    largest_filter: float

    def of_rate(self, rate: float) -> int:
        """Index of the level that a rate gives."""
        return int(np.searchsorted(self.thresholds, rate, side="right")) - 1


def make_levels(
    layers: Sequence[str],
    scores: Mapping[str, Tensor],
    weigh: Callable[[Mapping[str, Tensor]], float],
    highest: float,
) -> Levels:
    """Levels of a group up to a highest rate.

    Args:
        layers: Names of the group's layers.
        scores: Per layer (n_filters,), low = goes first, as for ``plan_masks``.
        weigh: Share of the network that is gone under masks, such as ``NominalSparsity``.
        highest: No rate above this, in [0, 1).

    Returns:
        The levels; exactly what ``plan_masks`` removes at any rate, floor rule included.
    """
    ranks = {name: scores[name].argsort(stable=True).argsort() for name in layers}
    # The smallest double that truncates to p filters is p / n, or a neighbour of it.
    candidates = {0.0}
    for n in {len(rank) for rank in ranks.values()}:
        candidates.update(lowest_rate(p, n) for p in range(1, n))
    thresholds = np.array(sorted(rate for rate in candidates if rate <= highest))
    filters = np.array(
        [
            [number_to_prune(rate, len(ranks[name])) for name in layers]
            for rate in thresholds.tolist()
        ],
        dtype=np.int64,
    )
    removed = [
        weigh({name: ranks[name] >= count for name, count in zip(layers, row, strict=True)})
        for row in filters.tolist()
    ]
    one_each = [weigh({name: ranks[name] >= 1}) for name in layers]
    start = removed[0]
    largest = max(one_each, default=start) - start
    return Levels(tuple(layers), thresholds, np.array(removed) - start, largest)


def levels_of_sizes(
    layers: Mapping[str, tuple[str, ...]],
    thresholds: Mapping[str, NDArray[np.float64]],
    sizes: Sizes,
) -> dict[str, Levels]:
    """Levels of every group, each with what it removes while all others keep everything.

    Args:
        layers: Names of the layers per group.
        thresholds: Lowest rate of each level per group.
        sizes: Share removed at levels of the groups.
    """
    levels = {}
    for g, (name, rates) in enumerate(thresholds.items()):
        alone = np.zeros((len(rates), len(thresholds)), dtype=np.int64)
        alone[:, g] = np.arange(len(rates))
        removed = sizes.estimate(alone)
        levels[name] = Levels(layers[name], rates, removed - removed[0], sizes.largest_filter)
    return levels


def lowest_rate(p: int, n: int) -> float:
    """Smallest double whose product with ``n`` truncates to ``p``."""
    rate = p / n
    while number_to_prune(rate, n) < p:
        rate = float(np.nextafter(rate, 1.0))
    while number_to_prune(float(np.nextafter(rate, 0.0)), n) >= p:
        rate = float(np.nextafter(rate, 0.0))
    return rate
