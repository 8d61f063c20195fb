"""Levels: the few different masks that the rate of a group can give, and what each removes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateur.pruning.plan import number_to_prune


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
    thresholds = rates_of_levels(map(len, ranks.values()), highest)
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


def rates_of_levels(counts: Iterable[int], highest: float) -> NDArray[np.float64]:
    """Rates from which on a ranking of some length loses another filter or set.

    Args:
        counts: Lengths of the rankings.
        highest: No rate above this, in [0, 1).

    Returns:
        Rates (L,), rising; the first is 0.
    """
    rates = {0.0}
    for n in set(counts):
        rates.update(lowest_rate(p, n) for p in range(1, n))
    return np.array(sorted(rate for rate in rates if rate <= highest))


def lowest_rate(p: int, n: int) -> float:
    """Smallest double whose product with ``n`` truncates to ``p``: p / n, or a neighbour."""
    rate = p / n
    while number_to_prune(rate, n) < p:
        rate = float(np.nextafter(rate, 1.0))
    while number_to_prune(float(np.nextafter(rate, 0.0)), n) >= p:
        rate = float(np.nextafter(rate, 0.0))
    return rate
