"""Constants of removed channels, absorbed by biases or by one channel that stands for many."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.slimming.dependencies import ChannelClasses
from secateur.slimming.graph import NetworkGraph, is_batch_norm
from secateur.slimming.liveness import Reader
from secateur.slimming.operators import bind


@dataclass(frozen=True, slots=True)
class Fold:
    """A constant per filter that a layer no longer gets from the channels it reads.

    Args:
        weight: Name of the layer's weight.
        target: Name of the bias or running mean that takes the constant over.
        amount: What to add to it, (filters,), in double precision.
        channels: How many channels' effect it is.
    """

    weight: str
    target: str
    amount: Tensor
    channels: int


def folds(
    traced: NetworkGraph, readers: Mapping[str, Reader], kept: Tensor, tensors: Mapping[str, Tensor]
) -> list[Fold]:
    """Constants that removed channels contributed, and where each of them goes.

    A layer without a bias passes its constant on to the running mean of the batch norm behind it;
    where there is none, or not one alone, it gets a new bias.

    Args:
        traced: The operator graph.
        readers: The layers by weight.
        kept: Classes that stay, (classes,) bool.
        tensors: Parameters and buffers of the network by name.
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
    """Running mean of the batch norm that alone reads the layer, and nothing else does."""
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
        source: Index of the channel that goes.
        target: Index of the channel that stays.
        ratio: Value of the one over the value of the other.
        dim: Dimension of the channels in the weight.
    """

    weight: str
    source: int
    target: int
    ratio: float
    dim: int


def find_carriers(
    readers: Mapping[str, Reader], classes: ChannelClasses, live: Tensor
) -> dict[int, tuple[Merge, ...]]:
    """Classes that a class beside them can stand for.

    Args:
        readers: The layers by weight.
        classes: Sets of channels that can only be removed together.
        live: Classes that an output may depend on, (classes,) bool.

    Returns:
        Class that may go -> what has to be added where if it does.
    """
    found: dict[int, tuple[Merge, ...]] = {}
    standing: dict[str, list[int]] = {}
    constants = _constants(readers, classes, live)
    for index, places in constants.items():
        needed = {place.weight: place for place in places.values() if place.needed}
        if not needed:
            continue
        for other in standing.get(next(iter(needed)), []):
            if (merges := _absorb(needed, constants[other])) is not None:
                found[index] = merges
                break
        else:
            for weight in needed:
                standing.setdefault(weight, []).append(index)
    return found


@dataclass(slots=True)
class _Place:
    """Where a layer reads a class, and the constant that each call sees there."""

    weight: str
    dim: int
    whole: bool
    values: tuple[float, ...]
    first: int
    needed: list[int]


def _constants(
    readers: Mapping[str, Reader], classes: ChannelClasses, live: Tensor
) -> dict[int, dict[str, _Place]]:
    """Live classes that all their readers see as constants, the largest constants first."""
    constant = live & classes.removable
    for reader in readers.values():
        constant[reader.inputs[_needed(reader, live) & reader.seen.isnan().any(0)]] = False
    found: dict[int, dict[str, _Place]] = {}
    for weight, reader in readers.items():
        needed = _needed(reader, live)
        for position in constant[reader.inputs].nonzero()[:, 0].tolist():
            values = tuple(reader.seen[:, position].tolist())
            place = found.setdefault(int(reader.inputs[position]), {}).setdefault(
                weight,
                _Place(
                    weight,
                    0 if reader.layout.transposed else 1,
                    reader.layout.groups == 1,
                    values,
                    position,
                    [],
                ),
            )
            # Equal values: one class may be read in several places of one layer.
            place.whole &= place.values == values
            if needed[position]:
                place.needed.append(position)

    def size(index: int) -> float:
        return max(abs(v) for place in found[index].values() for v in place.values)

    return {index: found[index] for index in sorted(found, key=size, reverse=True)}


def _needed(reader: Reader, live: Tensor) -> Tensor:
    """Channels that a live filter reads and no bias takes over, (channels,) bool."""
    needed: Tensor = reader.nonzero[live[reader.outputs]].any(0) & reader.constants.isnan()
    return needed


def _absorb(
    needed: Mapping[str, _Place], standing: Mapping[str, _Place]
) -> tuple[Merge, ...] | None:
    """What lets one class stand for another; None if it cannot."""
    merges: list[Merge] = []
    for weight, place in needed.items():
        target = standing.get(weight)
        if target is None or not place.whole or not target.whole or 0.0 in target.values:
            return None
        ratios = [a / b for a, b in zip(place.values, target.values, strict=True)]
        # One weight serves every call, so the ratio has to be the same in all.
        if not all(math.isclose(ratio, ratios[0], rel_tol=1e-9) for ratio in ratios):
            return None
        merges += [Merge(weight, p, target.first, ratios[0], place.dim) for p in place.needed]
    return tuple(merges)
