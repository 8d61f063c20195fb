"""Coupled sets: the channels of a network that can only be removed together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur.filters import FilterLayer, as_arguments
from secateur.slimming.analysis import SIZES, find_dependencies, runs_without_half
from secateur.slimming.dependencies import ChannelClasses, ChannelDependencies
from secateur.slimming.graph.network_graph import NetworkGraph, trace
from secateur.slimming.graph.operators import owner_of
from secateur.slimming.liveness import restore_valid_shapes

FIXED = -1  # the set of filters that are never removed


@dataclass(frozen=True, slots=True)
class CoupledSet:
    """Filters that write channels which the network ties together.

    Args:
        filters: (layer, filter) pairs; depthwise and linear layers are among the layers.
        norms: (batch norm, channel) pairs that act on those channels.
        reason: Why the set must stay; empty if it may be removed.
    """

    filters: tuple[tuple[str, int], ...]
    norms: tuple[tuple[str, int], ...]
    reason: str

    @property
    def removable(self) -> bool:
        """Whether the set may be removed."""
        return not self.reason


class CoupledSets:
    """All sets of coupled channels of a network, and the constraints between them.

    Args:
        dependencies: Which channels meet where.
        classes: All that is tied together, sets that no layer writes included.
        removable: Whether each set may go, in the order in which the network runs through their
            layers, (n_sets,) bool.
        members: Layer or batch norm -> set of each of its channels, -1 = none, (n_filters,).
        writers: Names of the layers among ``members``.
        equal: Matrices of set numbers whose rows have to lose equally many; -1 stands for
            channels that no set holds. The group of a grouped convolution may also go whole.
    """

    def __init__(
        self, traced: NetworkGraph, dependencies: ChannelDependencies, classes: ChannelClasses
    ) -> None:
        """Collect what each class of channels consists of."""
        writers = {call.weight: 1 if call.layout.transposed else 0 for call in dependencies.calls}
        writers |= dict.fromkeys(dependencies.depthwise, 0)
        written = [m for (name, dim), m in classes.slices.items() if writers.get(name) == dim]
        every = torch.cat(written).numpy() if written else np.zeros(0, dtype=np.int64)
        indices, first = np.unique(every, return_index=True)
        self._classes_of_sets = torch.from_numpy(indices[np.argsort(first)])
        numbers = torch.full((classes.count,), FIXED)
        numbers[self._classes_of_sets] = torch.arange(len(self._classes_of_sets))
        self.removable = classes.removable[self._classes_of_sets]
        self.members: dict[str, Tensor] = {}
        self.writers: set[str] = set()
        for (name, dim), members in classes.slices.items():
            if writers.get(name) == dim:
                self.writers.add(owner_of(name))
            elif not name.endswith("running_mean") and not (
                owner_of(name) in dependencies.norms and name.endswith("weight")
            ):
                continue
            self.members[owner_of(name)] = numbers[members]
        self.dependencies, self.classes = dependencies, classes
        self._tensors = traced.tensors
        self.equal = tuple(
            tuple(tuple(row) for row in numbers[classes.of[matrix]].tolist())
            for matrix in (*dependencies.equal_rows, *_groups(dependencies))
        )

    @cached_property
    def sets(self) -> tuple[CoupledSet, ...]:
        """The sets, one by one."""
        filters: list[list[tuple[str, int]]] = [[] for _ in self.removable]
        norms: list[list[tuple[str, int]]] = [[] for _ in self.removable]
        for name, numbers in self.members.items():
            found = filters if name in self.writers else norms
            for position, number in enumerate(numbers.tolist()):
                if number >= 0:
                    found[number].append((name, position))
        reasons = [self.classes.pinned.get(i, "") for i in self._classes_of_sets.tolist()]
        return tuple(
            CoupledSet(tuple(members), tuple(others), reason)
            for members, others, reason in zip(filters, norms, reasons, strict=True)
        )

    def __getstate__(self) -> dict[str, Any]:
        """All but the nodes of the graph, which cannot be handed to another process."""
        return {**self.__dict__, "dependencies": replace(self.dependencies, calls=[])}

    def removable_of(
        self, chosen: Collection[int], scores: Sequence[float] | None = None, align: int = 1
    ) -> set[int]:
        """Find the sets that can be removed, out of some chosen ones.

        Args:
            chosen: Numbers of the sets to remove.
            scores: Importance of every set; where one must be kept after all, it is the most
                important one. Without scores it is the one with the fewest parameters.
            align: Numbers of filters become multiples of this, or stay whole.
        """
        index_of = self._classes_of_sets
        live = torch.ones(self.classes.count, dtype=torch.bool)
        wanted = torch.tensor(sorted(chosen), dtype=torch.long)
        live[index_of[wanted[self.removable[wanted]]]] = False
        cost = None
        if scores is not None:
            cost = torch.zeros(self.classes.count)
            cost[index_of] = -torch.tensor(list(scores), dtype=cost.dtype)
        kept = restore_valid_shapes(
            live, self.dependencies, self.classes, self._tensors, align, cost
        )
        return set(wanted[~kept[index_of[wanted]]].tolist())


def _groups(dependencies: ChannelDependencies) -> list[Tensor]:
    """Labels that grouped convolutions read and write, one matrix each, a row per group."""
    return [
        labels.view(dependencies.groups[weight], -1)
        for weight, inputs in dependencies.grouped.items()
        for labels in (inputs, dependencies.slices[weight, 0])
    ]


def find_coupled_sets(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    traced: NetworkGraph | None = None,
) -> CoupledSets:
    """Find the sets of filters that can only be removed together.

    Args:
        model: Any network that ``trace`` accepts; it stays untouched.
        example_inputs: One input tensor or the positional arguments of the forward.
        traced: Operator graph of the network if it is at hand.

    Raises:
        InputError: If the network cannot be traced.
    """
    arguments = as_arguments(example_inputs)
    traced = traced or trace(model, arguments)
    for sizes in SIZES:
        dependencies, classes = find_dependencies(model, traced, sizes=sizes)
        # A forward with sizes written down fails at that.
        if runs_without_half(model, traced, dependencies, classes, classes.removable):
            break
    _pin_unmaskable(model, dependencies, classes)
    return CoupledSets(traced, dependencies, classes)


def _pin_unmaskable(
    model: nn.Module, dependencies: ChannelDependencies, classes: ChannelClasses
) -> None:
    """Pin what is written by the weight of no layer, such as a functional call's: see masks."""
    written = {call.weight: call.outputs for call in dependencies.calls}
    written |= {weight: dependencies.slices[weight, 0] for weight in dependencies.depthwise}
    for weight, labels in written.items():
        owner, _, part = weight.rpartition(".")
        if part != "weight" or not isinstance(model.get_submodule(owner), FilterLayer):
            for index in torch.unique(classes.of[labels]).tolist():
                classes.pinned.setdefault(index, f"{weight} belongs to no layer that can be masked")


def hidden_linear_layers(model: nn.Module, channels: CoupledSets) -> tuple[str, ...]:
    """Linear layers that write channels which may go; those that write an output do not.

    Args:
        model: Network.
        channels: Its channel sets.
    """
    return tuple(
        name
        for name in channels.writers
        if isinstance(model.get_submodule(name), nn.Linear)
        and bool(channels.removable[channels.members[name]].any())
    )
