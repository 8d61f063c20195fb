"""Slim level sizes: parameters, MACs or latency of the slim network at levels of the groups."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateur.cost.layer_latency import LatencyTable, measure_layers
from secateur.pruning.pruner import Pruner
from secateur.pruning.sizes import Shapes, SlimSizes, measure_share
from secateur.search.level_sizes import LevelCounts, LevelRows
from secateur.search.rate_levels import RateMasks
from secateur.slimming.dependencies import ChannelClasses, ChannelDependencies

_SAME = 1e-9

_PROBES = 4

_CACHED = 100_000


class SlimLevelSizes:
    """Share of the dense network that slimming removes, in one quantity.

    The estimate counts the channels whose filters are all masked; that takes milliseconds for
    thousands of combinations. Under a coupled scope it is what slimming removes. Otherwise
    slimming removes more or less (constants that are absorbed, layers that nothing reads any
    more), and a space corrects the estimate by what ``SlimSizes`` finds.

    Args:
        pruner: Network and layers; its present weights count.
        rate_masks: Masks at levels of the groups.
        example_inputs: Arguments of one forward, of the size whose latency counts.
        quantity: ``params``, ``macs`` or ``latency``; for the last, layers, the dense network and
            the smallest that levels allow are measured here, once.
    """

    start = 0.0

    def __init__(
        self,
        pruner: Pruner,
        rate_masks: RateMasks,
        example_inputs: tuple[Tensor, ...],
        quantity: str,
    ) -> None:
        self.quantity = quantity
        self._rate_masks = rate_masks
        self._batchnorms = dict(pruner.batchnorms)
        self._align = pruner.settings.align
        self._model = copy.deepcopy(pruner.model)
        self._inputs = example_inputs
        self._slim: SlimSizes | None = SlimSizes(
            self._model, example_inputs, self._align, pruner.traced
        )
        self._table = self._measure_table(self._slim) if quantity == "latency" else None
        self._known: dict[tuple[int, ...], float] = {}
        self._dense = self._slim.dense_shapes
        self._whole = self._size(self._slim, self._dense)
        self._read_classes(self._slim, pruner)
        self.largest_filter = self._largest(pruner)
        self.is_exact = self._proves_exact()

    @property
    def dense(self) -> float:
        """Parameters, multiply-accumulates or milliseconds of the dense network."""
        return self._table.dense_ms if self._table is not None else float(self._whole)

    def estimate(self, levels: LevelRows) -> NDArray[np.float64]:
        """Share removed (B,) at levels (B, G)."""
        return self._share(self._counts(levels))

    def measure(self, levels: Sequence[int]) -> float:
        """Share removed at one level per group, as slimming will find it."""
        key = tuple(int(level) for level in levels)
        if key not in self._known:
            if self._slim is None:
                self._slim = SlimSizes(self._model, self._inputs, self._align)
            shapes = self._slim.shapes(self._masks(key), self._batchnorms)
            if len(self._known) >= _CACHED:
                self._known.clear()
            self._known[key] = 1 - self._size(self._slim, shapes) / self._whole
        return self._known[key]

    def __getstate__(self) -> dict[str, Any]:
        """All but the trace, which cannot be handed to another process; it makes its own."""
        return {**self.__dict__, "_slim": None}

    def _masks(self, levels: Sequence[int]) -> dict[str, Tensor]:
        return self._rate_masks.masks(self._rate_masks.rates(levels))

    def _measure_table(self, slim: SlimSizes) -> LatencyTable:
        """Times of the layers, corrected at both ends of the space."""
        table = measure_layers(self._model, self._inputs)
        highest = [len(group) - 1 for group in self._rate_masks.thresholds.values()]
        masks = self._masks(highest)
        share = measure_share(self._model, self._inputs, masks, self._batchnorms, self._align)
        shapes = slim.shapes(masks, self._batchnorms)
        return table.with_network(shapes, share * table.dense_ms)

    def _size(self, slim: SlimSizes, shapes: Shapes) -> float:
        if self._table is not None:
            return self._table.milliseconds(shapes)
        return slim.parameters(shapes) if self.quantity == "params" else slim.macs(shapes)

    def _own_size(self, slim: SlimSizes, name: str) -> float:
        """Size that one parameter tensor has by itself."""
        shapes = {name: self._dense[name]}
        if self._table is not None:
            return self._table.within(shapes)[0]
        return self._size(slim, shapes)

    def _read_classes(self, slim: SlimSizes, pruner: Pruner) -> None:
        """Find at which levels channels are removed, and which dimensions of weights they fill."""
        classes = slim.classes
        sizes = [len(group) for group in self._rate_masks.thresholds.values()]
        needed = _needed_by_classes(
            slim.dependencies, classes, pruner, self._rate_masks.needed, max(sizes)
        )
        counted = {name: cost for name in self._dense if (cost := self._own_size(slim, name)) > 0}
        self._keys = [key for key in classes.slices if key[0] in counted]
        weights = np.zeros((classes.count, len(self._keys)))
        for k, key in enumerate(self._keys):
            np.add.at(weights[:, k], classes.slices[key].numpy(), 1)
        self._counts = LevelCounts(needed, weights, sizes)
        self._class_rows, self._class_needs = weights, needed
        self._cost_of = {
            name: cost / math.prod(self._dense[name]) for name, cost in counted.items()
        }

    def _share(self, gone: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the network (B,) that is removed with numbers of channels (B, K)."""
        total: NDArray[np.float64] = np.zeros(len(gone))
        kept: dict[str, dict[int, NDArray[np.float64]]] = {name: {} for name in self._cost_of}
        for k, (name, dim) in enumerate(self._keys):
            kept[name][dim] = self._dense[name][dim] - gone[:, k]
        if self._table is not None:
            return 1 - self._milliseconds(self._table, kept, len(gone)) / self._whole
        for name, cost in self._cost_of.items():
            shape = self._dense[name]
            fixed = math.prod(n for dim, n in enumerate(shape) if dim not in kept[name])
            total += cost * fixed * math.prod(kept[name].values(), start=np.ones(len(gone)))
        return 1 - total / self._whole

    def _milliseconds(
        self, table: LatencyTable, kept: dict[str, dict[int, NDArray[np.float64]]], count: int
    ) -> NDArray[np.float64]:
        """Time of the network (B,); layers add up, and so do the elements that they write."""
        total: NDArray[np.float64] = np.zeros((count, 2))
        for name, channels in kept.items():
            shape = self._dense[name]
            if not channels:
                total += table.within({name: shape})
                continue
            rows, which = np.unique(
                np.stack(list(channels.values()), 1), axis=0, return_inverse=True
            )
            within = []
            for row in rows:
                left = dict(zip(channels, row, strict=True))
                small = tuple(int(left.get(dim, n)) for dim, n in enumerate(shape))
                within.append(table.within({name: small}))
            total += np.array(within)[which.reshape(-1)]
        return total[:, 0] + table.beyond_ms(total[:, 1])

    def _largest(self, pruner: Pruner) -> float:
        """Largest share of the dense network that one set has."""
        goes = (self._class_needs > 0).any(1)
        rows = np.unique(self._class_rows[goes], axis=0)
        return float(self._share(rows).max()) if len(rows) else 0.0

    def _proves_exact(self) -> bool:
        """Whether the estimate equals the measured size at a few levels that are tried."""
        sizes = np.array([len(group) for group in self._rate_masks.thresholds.values()])
        shares = np.random.default_rng(0).uniform(size=(_PROBES, len(sizes)))
        for levels in (shares * sizes).astype(np.int64):
            if abs(self.estimate(levels[None])[0] - self.measure(levels.tolist())) > _SAME:
                return False
        return True


def _needed_by_classes(
    dependencies: ChannelDependencies,
    classes: ChannelClasses,
    pruner: Pruner,
    needed: NDArray[np.int64],
    never: int,
) -> NDArray[np.int64]:
    """Level of each group from which on a class of channels is removed, (classes, groups).

    It is removed when every layer that writes it loses that filter, or when a depthwise layer
    does: a zero depthwise filter leaves nothing to read.
    """
    mixing: NDArray[np.int64] = np.zeros((classes.count, needed.shape[1]), dtype=np.int64)
    depthwise: NDArray[np.int64] = np.full_like(mixing, never)
    written = {call.weight: 1 if call.layout.transposed else 0 for call in dependencies.calls}
    fixed = np.concatenate([needed, np.full((1, needed.shape[1]), never)])
    for weight, dim in written.items():
        members = classes.slices[weight, dim].numpy()
        name = weight.rpartition(".")[0]
        of = pruner.sets.of.get(name) if name in pruner.layers else None
        if of is None or len(of) != len(members):
            mixing[members] = never
        else:
            np.maximum.at(mixing, members, fixed[of.numpy()])
    for weight in dependencies.depthwise:
        members = classes.slices[weight, 0].numpy()
        of = pruner.sets.of.get(weight.rpartition(".")[0])
        if of is not None and len(of) == len(members):
            np.minimum.at(depthwise, members, fixed[of.numpy()])
    either = (depthwise > 0) & (depthwise < never) & (mixing > 0)
    mixing = np.where(either, np.minimum(mixing, depthwise), mixing)
    mixing[~classes.removable.numpy()] = never
    return mixing
