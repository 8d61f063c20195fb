"""Liveness: which classes of channels an output of the network can depend on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from secateur.slimming.dependencies import ChannelClasses, ChannelDependencies, LabeledCall
from secateur.slimming.graph.constant_propagation import VARYING, ConstantValues, channel_values
from secateur.slimming.graph.operators import Layout, bind


@dataclass(frozen=True, slots=True)
class Reader:
    """A layer that mixes channels, with all its calls taken together.

    Args:
        calls: The calls, in order of execution.
        layout: How the weight is laid out.
        inputs: Class of each channel it reads, (channels,).
        outputs: Class of each channel it writes, (filters,).
        nonzero: Whether a filter depends on a channel, (filters, channels).
        constants: Value of each channel whose effect on every call is one constant per filter,
            NaN for the others, (channels,).
        seen: Constant of each channel in each call, NaN where it varies, (calls, channels).
        last: Filters that were asked for last, and the channels that they depend on.
    """

    calls: tuple[LabeledCall, ...]
    layout: Layout
    inputs: Tensor
    outputs: Tensor
    nonzero: Tensor
    constants: Tensor
    seen: Tensor
    last: list[tuple[Tensor, Tensor]] = field(default_factory=list, repr=False, compare=False)

    def read_by(self, filters: Tensor) -> Tensor:
        """Channels that any of some filters depends on, (channels,) bool.

        Args:
            filters: Which filters, (filters,) bool.
        """
        for asked, found in self.last:
            if torch.equal(asked, filters):
                return found
        rows = self.nonzero[filters]
        # The largest of bytes takes a sixth of the time of any() over booleans.
        found = rows.view(torch.uint8).amax(0).bool() if len(rows) else rows.any(0)
        self.last[:] = [(filters, found), *self.last[:1]]
        return found


def readers(
    dependencies: ChannelDependencies,
    classes: ChannelClasses,
    values: ConstantValues,
    tensors: Mapping[str, Tensor],
) -> dict[str, Reader]:
    """Collect the calls of each layer, with the classes and the constants that it reads.

    Args:
        dependencies: Dependencies between channel labels.
        classes: Sets of channels that can only be removed together.
        values: Values of every node, from ``constant_values``.
        tensors: Parameters and buffers of the network by name.

    Returns:
        Name of the weight -> its layer.
    """
    by_weight: dict[str, list[LabeledCall]] = {}
    for call in dependencies.calls:
        by_weight.setdefault(call.weight, []).append(call)
    biases = {weight: {call.bias for call in calls} for weight, calls in by_weight.items()}
    shared = Counter(bias for names in biases.values() for bias in names)
    found: dict[str, Reader] = {}
    for weight, calls in by_weight.items():
        seen = torch.stack(
            [channel_values(values[call.source][0], call.layout.dim) for call in calls]
        )  # (calls, channels)
        constants = torch.where((seen == seen[:1]).all(0), seen[0], VARYING)
        own_bias = len(biases[weight]) == 1 and shared[calls[0].bias] == 1
        if calls[0].bias is None or not own_bias or any(call.layout.border for call in calls):
            constants = torch.where(constants == 0, constants, VARYING)
        first = calls[0]
        found[weight] = Reader(
            tuple(calls),
            first.layout,
            classes.of[first.inputs],
            classes.of[first.outputs],
            values.nonzero(bind(first.node)["weight"], first.layout),
            constants,
            seen,
        )
    return found


def live_classes(
    readers: Mapping[str, Reader],
    classes: ChannelClasses,
    absorbed: Collection[int] = (),
    also: Tensor | None = None,
) -> Tensor:
    """Classes that must stay because an output may depend on them.

    A class is live if it is pinned, or if a filter of a live class reads one of its channels with
    a non-zero weight and the channel's effect is not a constant that a bias can take over.

    Args:
        readers: The layers by weight.
        classes: Sets of channels that can only be removed together.
        absorbed: Classes whose effect other classes take over.
        also: Classes that are live in any case, (classes,) bool.

    Returns:
        Which classes are live, (classes,) bool.
    """
    live = ~classes.removable
    if also is not None:
        live |= also
    carried = torch.zeros(classes.count, dtype=torch.bool)
    carried[list(absorbed)] = True
    before = -1
    while before != int(live.sum()):
        before = int(live.sum())
        for reader in reversed(list(readers.values())):
            needed = reader.read_by(live[reader.outputs]) & reader.constants.isnan()
            live[reader.inputs[needed & ~carried[reader.inputs]]] = True
    return live


def read_classes(readers: Mapping[str, Reader], classes: ChannelClasses, live: Tensor) -> Tensor:
    """Which classes a filter of a live class reads with a non-zero weight, (classes,) bool."""
    found = torch.zeros(classes.count, dtype=torch.bool)
    for reader in readers.values():
        found[reader.inputs[reader.read_by(live[reader.outputs])]] = True
    return found


def restore_valid_shapes(
    live: Tensor,
    dependencies: ChannelDependencies,
    classes: ChannelClasses,
    tensors: Mapping[str, Tensor],
    align: int = 1,
    cost: Tensor | None = None,
) -> Tensor:
    """Keep further classes until every layer has a channel and equal splits are equal.

    Args:
        live: Classes that stay in any case, (classes,) bool.
        dependencies: Dependencies between channel labels.
        classes: Sets of channels that can only be removed together.
        tensors: Parameters and buffers of the network by name.
        align: Numbers of filters become multiples of this, or stay whole.
        cost: Cost of keeping a class, (classes,); the cheapest are kept first. By default the
            number of its parameters.

    Returns:
        Classes to keep, (classes,) bool.
    """
    kept = live.clone()

    @cache
    def price() -> Tensor:
        return parameters_of_classes(classes, tensors) if cost is None else cost

    # A layer's weight, bias and batch norm say the same four to six times.
    once = {
        (members.numpy().tobytes(), align if dim == 0 else 1): members
        for (_, dim), members in classes.slices.items()
    }
    rows = [(members[None], multiple) for (_, multiple), members in once.items()]
    rows += [(classes.of[matrix], 1) for matrix in dependencies.equal_rows]
    grouped = [
        (
            classes.of[inputs].view(dependencies.groups[weight], -1),
            classes.slices[weight, 0].view(dependencies.groups[weight], -1),
        )
        for weight, inputs in dependencies.grouped.items()
    ]
    changed = True
    while changed:
        changed = False
        for matrix, multiple in rows:
            changed |= _balance(matrix, kept, price, multiple)
        for inputs, outputs in grouped:
            # A group is removed whole or keeps as many channels and filters as the others.
            alive = kept[inputs].any(1) | kept[outputs].any(1)
            if not bool(alive.any()):
                cheap = price()[inputs].sum(1) + price()[outputs].sum(1)
                alive[cheap.argmin()] = True
            changed |= _balance(inputs[alive], kept, price, 1)
            changed |= _balance(outputs[alive], kept, price, 1)
    return kept


def parameters_of_classes(classes: ChannelClasses, tensors: Mapping[str, Tensor]) -> Tensor:
    """Number of parameters that are removed with each class alone, (classes,)."""
    count = torch.zeros(classes.count)
    for (name, _), members in classes.slices.items():
        each = tensors[name].numel() / len(members)
        count.index_add_(0, members, torch.full((len(members),), each))
    return count


def _balance(rows: Tensor, kept: Tensor, price: Callable[[], Tensor], multiple: int) -> bool:
    """Keep the cheapest dead classes until all rows keep equally many; whether any was added."""
    counts = kept[rows].sum(1).tolist()
    target = max(1, *counts)
    target = min(-(-target // multiple) * multiple, rows.shape[1])
    changed = False
    if min(counts) >= target:
        return changed
    for row in rows:
        while int(kept[row].sum()) < target:
            dead = row[~kept[row]]
            kept[dead[price()[dead].argmin()]] = True
            changed = True
    return changed
