"""How many of some items are gone at levels of groups, for many combinations of levels at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LevelRows = NDArray[np.int64]
"""(B, G) levels of the groups, one combination a row."""


class LevelCounts:
    """Weighted counts of items that go once all groups are at the level that each needs.

    Items of one group are looked up in a table; only those of several are gone through.

    Args:
        needed: (N, G) level from which on a group lets an item go; 0 for one that has no say.
        weights: (N, K) what an item counts for in each of K sums.
        sizes: (G,) number of levels of each group.
    """

    def __init__(
        self, needed: NDArray[np.int64], weights: NDArray[np.float64], sizes: list[int]
    ) -> None:
        goes = (needed < np.array(sizes)).all(1) & (needed > 0).any(1)
        needed, weights = needed[goes], weights[goes]
        alone = (needed > 0).sum(1) == 1
        self._tables = []
        for g, size in enumerate(sizes):
            table = np.zeros((size, weights.shape[1]))
            here = alone & (needed[:, g] > 0)
            np.add.at(table, needed[here, g], weights[here])
            self._tables.append(table.cumsum(0))
        # Items that go together are one item.
        self._needed, which = np.unique(needed[~alone], axis=0, return_inverse=True)
        self._weights = np.zeros((len(self._needed), weights.shape[1]))
        np.add.at(self._weights, which.reshape(-1), weights[~alone])

    def __call__(self, levels: LevelRows) -> NDArray[np.float64]:
        """Sums (B, K) of the items that are gone at levels (B, G)."""
        total = sum(table[levels[:, g]] for g, table in enumerate(self._tables))
        if len(self._needed):
            gone = (levels[:, None] >= self._needed[None]).all(2)
            total = total + gone.astype(np.float64) @ self._weights
        return np.asarray(total)
