"""Let one constant channel stand for many where no bias can.

A zero filter behind a batch norm often emits a constant. A padded convolution sees that constant
inside the picture and zero outside it, so it has no constant effect that a bias could take over.
The effect is linear in the constant all the same: of several such channels one is enough, with
the others' weights added to its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from secateur.pruning.classes import Classes
from secateur.pruning.liveness import Reader


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


def find_merges(
    readers: Mapping[str, Reader], classes: Classes, live: Tensor
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
    readers: Mapping[str, Reader], classes: Classes, live: Tensor
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
