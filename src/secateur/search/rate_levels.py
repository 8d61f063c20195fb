"""Rate levels: the rates at which a group loses one more filter, and the masks at a level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateur.errors import InputError
from secateur.pruning.coupled_sets import FIXED
from secateur.pruning.pruner import Pruner
from secateur.pruning.ranking import ROUNDING, number_to_prune, rates_of_sets

_CLOSE = 1e-12  # ``number_to_prune`` takes what is that close to p / n for p / n


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Masks of one group by rising rate; between two thresholds the masks are the same.

    Attributes:
        layers: Names of the layers.
        thresholds: (L,) lowest rate of each level, rising, the first is 0.
        removed: (L,) share of the network that is removed, rising, the first is 0.
        largest_filter: Greatest share that one filter of the group takes.
    """

    layers: tuple[str, ...]
    thresholds: NDArray[np.float64]
    removed: NDArray[np.float64]
    largest_filter: float

    def of_rate(self, rate: float) -> int:
        """Index of the level that a rate gives."""
        return int(np.searchsorted(self.thresholds, rate + _CLOSE, side="right")) - 1


def make_levels(
    layers: Sequence[str],
    scores: Mapping[str, Tensor],
    weigh: Callable[[Mapping[str, Tensor]], float],
    highest: float,
) -> Levels:
    """Levels of a group up to a highest rate.

    Args:
        layers: Names of the group's layers.
        scores: Per layer (n_filters,), the lowest are removed first, as in ``plan_masks``.
        weigh: Share of the network that masks remove, such as ``NominalSparsity``.
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
        rates.update(p / n for p in range(1, n))
    return np.array(sorted(rate for rate in rates if rate <= highest))


class RateMasks:
    """Masks for rates of groups, exactly those that ``Pruner.plan`` makes of the same rates.

    The levels of a group are the few rates from which on it loses another filter or set. A set
    with filters in several groups is removed once the rates of all of them are high enough.

    Args:
        pruner: Network, criterion, groups and scope; only its scores as they are now are kept.
        highest: No rate above this, in (0, 1).

    Attributes:
        groups: Names of the groups that have layers, in order.
        layers: Names of the layers per group.
        batchnorms: Name of the batch norm that is masked with a layer, by name of the layer.
        thresholds: Per group (L,) lowest rate of each level, rising, the first is 0.
        needed: (sets, groups) level of the group from which on the set is removed: 0 for a group
            without filters of it, above the last level for a set that stays.

    Raises:
        InputError: If there are no groups, or the scope ranks layers of different groups together.
    """

    def __init__(self, pruner: Pruner, highest: float) -> None:
        if pruner.scope.startswith("global"):
            raise InputError(
                f"a search finds the rate of every layer group, and scope={pruner.scope} lets one "
                "ranking decide that: take pruning.scope=independent or coupled"
            )
        self.layers = {name: tuple(layers) for name, layers in pruner.groups.items() if layers}
        if not self.layers:
            raise InputError("a search needs groups: set pruning.groups to a table or to patterns")
        self.groups = tuple(self.layers)
        self.batchnorms = dict(pruner.batchnorms)
        self.sets = pruner.sets
        pruner.scores = pruner.score()
        ranking = pruner.rank()
        self.scores, self._removed_before, self._pool_size = (
            ranking.scores,
            ranking.removed_before,
            ranking.pool_size,
        )
        member = self._members()
        self.thresholds = {
            name: rates_of_levels(self._pool_size[member[:, g]].int().tolist(), highest)
            for g, name in enumerate(self.groups)
        }
        self.needed = np.zeros(member.shape, dtype=np.int64)
        for g, thresholds in enumerate(self.thresholds.values()):
            for pool in np.unique(self._pool_size[member[:, g]]):
                gone = [number_to_prune(rate, int(pool)) for rate in thresholds.tolist()]
                chosen = np.flatnonzero(member[:, g] & (self._pool_size.numpy() == pool))
                self.needed[chosen, g] = np.searchsorted(gone, self._removed_before.numpy()[chosen])
        everything = dict.fromkeys(self._rates_of_layers({}), 1.0)
        grouped = {n: 1.0 if n in self._grouped() else 0.0 for n in everything}
        stays = rates_of_sets(self.sets, grouped).numpy() == 0
        self.needed[stays] = max(map(len, self.thresholds.values()))

    def rates(self, levels: Sequence[int]) -> dict[str, float]:
        """The lowest rates that give some levels, one per group."""
        return {
            name: float(self.thresholds[name][level])
            for name, level in zip(self.groups, levels, strict=True)
        }

    def masks(self, rates: Mapping[str, float]) -> dict[str, Tensor]:
        """Masks of every layer, and of batch norms under a coupled scope, True = kept."""
        return self.sets.masks(self._removed(rates), self.scores)

    def identity(self, rates: Mapping[str, float]) -> str:
        """Text that rates with equal masks share: how many filters or sets each ranking loses."""
        lost = np.bincount(self.sets.layer_set.numpy(), self._removed(rates).numpy())
        return ",".join(str(int(count)) for count in lost)

    def _removed(self, rates: Mapping[str, float]) -> Tensor:
        """Whether each set is removed, (sets,)."""
        of_sets = rates_of_sets(self.sets, self._rates_of_layers(rates))
        return self._removed_before <= (of_sets * self._pool_size + ROUNDING).floor()

    def _rates_of_layers(self, rates: Mapping[str, float]) -> dict[str, float]:
        process = self._grouped()
        return {name: float(rates.get(process.get(name, ""), 0.0)) for name in self.sets.layers}

    def _grouped(self) -> dict[str, str]:
        """Group of each layer that is in one."""
        return {layer: group for group, layers in self.layers.items() for layer in layers}

    def _members(self) -> NDArray[np.bool_]:
        """Whether each set has a filter in a layer of each group, (sets, groups)."""
        member = np.zeros((len(self.sets.layer_set), len(self.layers)), dtype=np.bool_)
        for g, layers in enumerate(self.layers.values()):
            for name in layers:
                sets = self.sets.of[name]
                member[sets[sets != FIXED].numpy(), g] = True
        return member
