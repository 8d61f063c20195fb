"""Absorption: what removed constant channels contributed is added to a bias or another channel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.slimming.dependencies import ChannelClasses
from secateur.slimming.graph.network_graph import NetworkGraph, is_batch_norm
from secateur.slimming.graph.operators import bind
from secateur.slimming.liveness import Reader


@dataclass(frozen=True, slots=True)
class Fold:
    """Constants to add to a bias or running mean when a layer loses constant channels.

    Args:
        weight: Name of the layer's weight.
        target: Name of the bias or running mean to which the constants are added.
        amount: Value to add per filter, (filters,), float64.
        channels: Number of removed channels whose contribution this is.
    """

    weight: str
    target: str
    amount: Tensor
    channels: int


def folds(
    traced: NetworkGraph, readers: Mapping[str, Reader], kept: Tensor, tensors: Mapping[str, Tensor]
) -> list[Fold]:
    """Find what the removed constant channels of each layer contributed to its filters.

    A layer without a bias passes its constant on to the running mean of the batch norm behind it;
    where there is none, or not one alone, it gets a new bias.

    Args:
        traced: The operator graph.
        readers: The layers by weight.
        kept: Classes that stay, (classes,) bool.
        tensors: Parameters and buffers of the network by name.

    Returns:
        One entry per layer that loses constant channels with an effect.
    """
    found: list[Fold] = []
    for weight, reader in readers.items():
        constants = reader.constants.nan_to_num(nan=0.0)
        lost = torch.where(kept[reader.inputs], torch.zeros_like(constants), constants)
        if not bool(lost.any()):
            continue
        amount = reader.layout.effect(tensors[weight], lost)
        channels = int(lost.count_nonzero())
        target, sign = reader.calls[0].bias, 1.0
        if target not in tensors and (mean := _mean_behind(traced, reader)) is not None:
            target, sign = mean, -1.0
        assert target is not None
        found.append(Fold(weight, target, sign * amount, channels))
    return found


def _mean_behind(traced: NetworkGraph, reader: Reader) -> str | None:
    """Name of the running mean behind a layer, if one batch norm alone reads its calls."""
    calls = {call.node for call in reader.calls}
    means: set[str | None] = set()
    for call in calls:
        norms = [user for user in call.users if is_batch_norm(user) and user.args[0] is call]
        if len(norms) != 1 or len(call.users) != 1:
            return None
        means.add(traced.name(bind(norms[0])["running_mean"]))
    mean = means.pop() if len(means) == 1 else None
    others = [
        node
        for node in traced.nodes
        if is_batch_norm(node)
        and node.args[0] not in calls
        and traced.name(bind(node)["running_mean"]) == mean
    ]
    return None if others else mean


@dataclass(frozen=True, slots=True)
class Merge:
    """One channel of a layer that takes over the effect of another.

    Args:
        weight: Name of the layer's weight.
        source: Index of the channel that is removed.
        target: Index of the channel that stays and takes over its effect.
        ratio: Constant of the removed channel divided by that of the one that stays.
        dim: Dimension of the input channels in the weight.
    """

    weight: str
    source: int
    target: int
    ratio: float
    dim: int


def find_carriers(
    readers: Mapping[str, Reader], classes: ChannelClasses, live: Tensor
) -> dict[int, tuple[Merge, ...]]:
    """Find constant classes whose effect another constant class can take over in every layer.

    Args:
        readers: The layers by weight.
        classes: Sets of channels that can only be removed together.
        live: Classes that an output may depend on, (classes,) bool.

    Returns:
        Class that can then be removed -> the merges that its removal takes.
    """
    found: dict[int, tuple[Merge, ...]] = {}
    carriers: dict[str, list[int]] = {}
    constants = _constants(readers, classes, live)
    for index, places in constants.items():
        needed = {place.weight: place for place in places.values() if place.needed}
        if not needed:
            continue
        for other in carriers.get(next(iter(needed)), []):
            if (merges := _absorb(needed, constants[other])) is not None:
                found[index] = merges
                break
        else:
            for weight in needed:
                carriers.setdefault(weight, []).append(index)
    return found


@dataclass(slots=True)
class _ConstantInput:
    """The input channels of one layer that belong to one constant class.

    Args:
        weight: Name of the layer's weight.
        dim: Dimension of the input channels in the weight.
        mergeable: Whether the layer is ungrouped and all these channels have equal constants.
        values: Constant of the channels in each call of the layer.
        first: Index of the first of these channels.
        needed: Indices of those that a live filter reads and no bias can absorb.
    """

    weight: str
    dim: int
    mergeable: bool
    values: tuple[float, ...]
    first: int
    needed: list[int]


def _constants(
    readers: Mapping[str, Reader], classes: ChannelClasses, live: Tensor
) -> dict[int, dict[str, _ConstantInput]]:
    """Find live classes that are constant for all layers that read them, the largest first."""
    constant = live & classes.removable
    for reader in readers.values():
        constant[reader.inputs[_needed(reader, live) & reader.seen.isnan().any(0)]] = False
    found: dict[int, dict[str, _ConstantInput]] = {}
    for weight, reader in readers.items():
        needed = _needed(reader, live)
        for position in constant[reader.inputs].nonzero()[:, 0].tolist():
            values = tuple(reader.seen[:, position].tolist())
            place = found.setdefault(int(reader.inputs[position]), {}).setdefault(
                weight,
                _ConstantInput(
                    weight,
                    0 if reader.layout.transposed else 1,
                    reader.layout.groups == 1,
                    values,
                    position,
                    [],
                ),
            )
            # Equal values: one class may be read in several places of one layer.
            place.mergeable &= place.values == values
            if needed[position]:
                place.needed.append(position)

    def size(index: int) -> float:
        return max(abs(v) for place in found[index].values() for v in place.values)

    return {index: found[index] for index in sorted(found, key=size, reverse=True)}


def _needed(reader: Reader, live: Tensor) -> Tensor:
    """Which channels a live filter reads and no bias can absorb, (channels,) bool."""
    needed: Tensor = reader.read_by(live[reader.outputs]) & reader.constants.isnan()
    return needed


def _absorb(
    needed: Mapping[str, _ConstantInput], carrier: Mapping[str, _ConstantInput]
) -> tuple[Merge, ...] | None:
    """Merges with which one class takes over the effect of another; None if it cannot."""
    merges: list[Merge] = []
    for weight, place in needed.items():
        target = carrier.get(weight)
        if target is None or not (place.mergeable and target.mergeable) or 0.0 in target.values:
            return None
        ratios = [a / b for a, b in zip(place.values, target.values, strict=True)]
        # One weight serves every call, so the ratio has to be the same in all.
        if not all(math.isclose(ratio, ratios[0], rel_tol=1e-9) for ratio in ratios):
            return None
        merges += [Merge(weight, p, target.first, ratios[0], place.dim) for p in place.needed]
    return tuple(merges)
