"""Level sizes: how large a network is at levels of its groups, as a space needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.pruning.pruner import Pruner
from secateur.pruning.targets import NominalSparsity, nonzero_per_filter
from secateur.search.rate_levels import Levels, RateMasks


class LevelSizes(Protocol):
    """Share of the network that is removed at levels of its groups."""

    largest_filter: float
    """Greatest share that one filter, or one set of tied filters, takes."""

    is_exact: bool
    """Whether the estimate is the truth."""

    def estimate(self, levels: LevelRows) -> NDArray[np.float64]:
        """Share removed (B,) at levels (B, G), never falling in any of them."""

    def measure(self, levels: Sequence[int]) -> float:
        """Share removed at one level per group, as slimming or counting finds it."""


class AdditiveSizes:
    """What groups remove, each on its own: sparsity where no filter is tied to another group's.

    Args:
        levels: Levels per group.
        start: Share that is zero before any rate.
    """

    is_exact = True

    def __init__(self, levels: Mapping[str, Levels], start: float) -> None:
        self._removed = [group.removed for group in levels.values()]
        self.start = start
        self.largest_filter = max((group.largest_filter for group in levels.values()), default=0)

    def estimate(self, levels: LevelRows) -> NDArray[np.float64]:
        """Share removed (B,) at levels (B, G)."""
        shares = [removed[levels[:, g]] for g, removed in enumerate(self._removed)]
        return np.asarray(self.start + sum(shares))

    def measure(self, levels: Sequence[int]) -> float:
        """Share removed at one level per group."""
        return float(self.estimate(np.array([levels]))[0])


class CoupledSparsity:
    """Sparsity under a coupled scope, where a set of filters is removed or stays as one.

    Args:
        pruner: Network and sets; its present weights count.
        rate_masks: Masks at levels of the groups.
    """

    is_exact = True

    def __init__(self, pruner: Pruner, rate_masks: RateMasks) -> None:
        nominal = NominalSparsity(pruner.model, pruner.layers, pruner.batchnorms)
        self.start = nominal({})
        zeros = torch.zeros(len(pruner.sets.layer_set), dtype=torch.float64)
        for name, sets in pruner.sets.of.items():
            counts = nonzero_per_filter(pruner.model.get_submodule(name)).double()
            zeros.index_add_(0, sets[sets >= 0], counts[sets >= 0])
        shares = (zeros / max(nominal.parameters, 1)).numpy()
        sizes = [len(group) for group in rate_masks.thresholds.values()]
        self._counts = LevelCounts(rate_masks.needed, shares[:, None], sizes)
        self._removal, self._nominal = rate_masks, nominal
        self.largest_filter = float(shares.max())

    def estimate(self, levels: LevelRows) -> NDArray[np.float64]:
        """Share of zero parameters (B,) at levels (B, G)."""
        return np.asarray(self.start + self._counts(levels)[:, 0])

    def measure(self, levels: Sequence[int]) -> float:
        """Share of zero parameters under the masks of one level per group."""
        masks: dict[str, Tensor] = self._removal.masks(self._removal.rates(levels))
        return self._nominal(masks)


def levels_of_sizes(
    layers: Mapping[str, tuple[str, ...]],
    thresholds: Mapping[str, NDArray[np.float64]],
    sizes: LevelSizes,
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


LevelRows = NDArray[np.int64]

"""(B, G) levels of the groups, one combination a row."""


class LevelCounts:
    """Weighted counts of the items that are removed at some levels of the groups.

    An item is removed once every group has reached the level that the item needs of it. Items of
    one group are looked up in a table; only those of several groups are compared one by one.

    Args:
        needed: (N, G) level of each group from which on an item is removed; 0 for groups that it
            does not depend on.
        weights: (N, K) weight of an item in each of K sums.
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
        # Items that are removed together are one item.
        self._needed, which = np.unique(needed[~alone], axis=0, return_inverse=True)
        self._weights = np.zeros((len(self._needed), weights.shape[1]))
        np.add.at(self._weights, which.reshape(-1), weights[~alone])

    def __call__(self, levels: LevelRows) -> NDArray[np.float64]:
        """Sums (B, K) over the items that are removed at levels (B, G)."""
        total = sum(table[levels[:, g]] for g, table in enumerate(self._tables))
        if len(self._needed):
            gone = (levels[:, None] >= self._needed[None]).all(2)
            total = total + gone.astype(np.float64) @ self._weights
        return np.asarray(total)
