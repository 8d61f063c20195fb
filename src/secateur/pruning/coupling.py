"""Coupling: the sets of filters that a scope ranks, single ones or those removed together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.filters import FilterLayer, as_arguments, number_of_filters
from secateur.pruning.masks import MaskHolder, scales_channels
from secateur.slimming.analysis import SIZES, find_dependencies, runs_without_half
from secateur.slimming.channel_means import needed_by_means
from secateur.slimming.dependencies import ChannelClasses, ChannelDependencies
from secateur.slimming.graph.constant_propagation import constant_values, input_free_tensors
from secateur.slimming.graph.network_graph import NetworkGraph, trace
from secateur.slimming.graph.operators import owner_of
from secateur.slimming.liveness import readers, restore_valid_shapes
from secateur.slimming.report import held_channels

FIXED = -1  # the set of filters that are never removed


@dataclass(frozen=True, slots=True)
class Coupling:
    """The ties between filters from which `FilterSets` were made.

    Args:
        channels: All sets of coupled channels of the network.
        numbers: Index in ``channels`` of each set that may be removed, (n_sets,).
        align: Numbers of filters become multiples of this, or stay whole.
    """

    channels: CoupledSets
    numbers: Tensor
    align: int


@dataclass(frozen=True, slots=True)
class FilterSets:
    """Sets of filters that may be removed, and in which layers each has filters.

    Sets with filters in the same layers are ranked among themselves, so that removing a share of
    them removes that share of the filters of each layer.

    Args:
        of: Layer or batch norm -> set of each of its channels, -1 = stays, (n_filters,).
        layers: Names of the layers among ``of``.
        layer_set: Number, from 0, of the combination of layers that a set has filters in,
            (n_sets,).
        tied_sets: Number of the group of such combinations that must all lose the same number of
            sets, (n_sets,).
        filters: Number of filters in each set, (n_sets,).
        coupling: The ties between filters; None where every filter is a set of its own.
    """

    of: dict[str, Tensor]
    layers: tuple[str, ...]
    layer_set: Tensor
    tied_sets: Tensor
    filters: Tensor
    coupling: Coupling | None = None

    def masks(self, removed: Tensor, scores: Tensor) -> dict[str, Tensor]:
        """Masks without the removed sets.

        The sets of highest score are kept after all where a grouped convolution or a split into
        equal parts needs them.

        Args:
            removed: Whether a set is to be removed, (n_sets,) bool.
            scores: Score of each set, (n_sets,).

        Returns:
            Per layer, and per batch norm of coupled channels, a mask (n_filters,), True = kept.
        """
        kept = ~removed
        if self.coupling is not None:
            kept = ~self._restored(removed, scores, self.coupling)
        # One more entry for the filters that stay, which have the number -1.
        kept = torch.cat([kept, torch.ones(1, dtype=torch.bool)])
        return {name: kept[of] for name, of in self.of.items()}

    def _restored(self, removed: Tensor, scores: Tensor, coupling: Coupling) -> Tensor:
        every = torch.zeros(len(coupling.channels.removable), dtype=torch.float64)
        every[coupling.numbers] = scores
        chosen = coupling.numbers[removed].tolist()
        gone = coupling.channels.removable_of(chosen, every.tolist(), coupling.align)
        goes = torch.zeros(len(every), dtype=torch.bool)
        goes[list(gone)] = True
        return goes[coupling.numbers]


def single_filters(layers: Mapping[str, nn.Module]) -> FilterSets:
    """Make every filter a set of its own, ranked inside its layer."""
    sizes = [number_of_filters(layer) for layer in layers.values()]
    sets = torch.split(torch.arange(sum(sizes)), sizes)
    unit = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return FilterSets(
        dict(zip(layers, sets, strict=True)), tuple(layers), unit, unit, torch.ones(sum(sizes))
    )


def coupled_filters(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    layers: Mapping[str, nn.Module],
    *,
    align: int = 1,
    traced: NetworkGraph | None = None,
    channels: CoupledSets | None = None,
) -> FilterSets:
    """Find the sets that residual sums, depthwise layers, concatenation and shared weights tie.

    Only sets that slimming can remove are offered: every layer that writes the channel may be
    pruned, and without them it is zero, or a constant that the layers behind can take over.

    Args:
        model: Network; not changed.
        example_inputs: One input tensor or the positional arguments of the forward.
        layers: Layers that may be pruned, by name.
        align: Numbers of filters become multiples of this, or stay whole.
        traced: Operator graph of the network if it is at hand.
        channels: Its channel sets if they are.

    Raises:
        InputError: If the network cannot be traced or nothing of it can be removed.
    """
    traced = traced or trace(model, example_inputs)
    channels = channels or find_coupled_sets(model, example_inputs, traced)
    allowed = channels.removable.clone()
    for name in channels.writers - layers.keys():
        allowed[channels.members[name]] = False
    members = _members(model, channels)
    allowed &= ~_leave_a_constant(model, traced, channels, members, allowed)
    numbers = allowed.nonzero()[:, 0]
    n_sets = len(numbers)
    if n_sets == 0:
        held = held_channels(channels.dependencies, channels.classes, traced.tensors)
        most = f" (most are held by: {held[0]})" if held else ""
        raise InputError(
            f"{type(model).__name__} has no channels that can be removed: every one reaches an "
            f"output, a fixed size or an excluded layer{most}; use scope=independent"
        )
    ours = torch.full((len(channels.removable) + 1,), FIXED)  # the last entry is for -1
    ours[numbers] = torch.arange(n_sets)
    of = {name: ours[sets] for name, sets in members.items()}
    of = {name: sets for name, sets in of.items() if name in layers or bool((sets >= 0).any())}
    for name, layer in layers.items():
        of.setdefault(name, torch.full((number_of_filters(layer),), FIXED))
    counts = [torch.bincount(of[name][of[name] >= 0], minlength=n_sets) for name in layers]
    rows = [_row_of(matrix, ours, n_sets) for matrix in channels.equal]
    return FilterSets(
        of,
        tuple(layers),
        _alike([*counts, *rows]),
        _alike([*counts, *((row > 0).long() for row in rows)]),
        torch.stack(counts).sum(0),
        Coupling(channels, numbers, align),
    )


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


def _alike(properties: Sequence[Tensor]) -> Tensor:
    """Number of the combination of properties that each set has, from 0, (n_sets,)."""
    # Equal rows have equal products with random numbers; sorting whole rows of a network of
    # hundreds of layers would take seconds.
    generator = np.random.default_rng(0)
    keys = np.zeros(len(properties[0]), dtype=np.uint64)
    for column in properties:
        keys += column.numpy().astype(np.uint64) * generator.integers(2**64, dtype=np.uint64)
    _, first, of_key = np.unique(keys, return_index=True, return_inverse=True)
    rows = torch.stack([column[torch.from_numpy(first)] for column in properties], 1).numpy()
    numbers = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
    return torch.from_numpy(numbers[of_key.reshape(-1)].astype(np.int64))


def _members(model: nn.Module, channels: CoupledSets) -> dict[str, Tensor]:
    """Channel set of each channel of each layer and norm to mask, -1 = none, (n_filters,)."""
    modules = {name: model.get_submodule(name) for name in channels.members}
    return {
        name: numbers
        for name, numbers in channels.members.items()
        # What else has channels is never masked: attention, whose weights have other names, and
        # norms without a scale per channel.
        if isinstance(modules[name], FilterLayer) or scales_channels(modules[name], len(numbers))
    }


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


def _leave_a_constant(
    model: nn.Module,
    traced: NetworkGraph,
    channels: CoupledSets,
    members: Mapping[str, Tensor],
    allowed: Tensor,
) -> Tensor:
    """Which sets emit, once masked, a constant that some layer cannot absorb, (sets,) bool."""
    gone = torch.cat([allowed, torch.zeros(1, dtype=torch.bool)])
    masks = MaskHolder(model, {name: ~gone[sets] for name, sets in members.items()})
    own = traced.over(model, masks.applied())
    assert own is not None
    dependencies, classes = channels.dependencies, channels.classes
    values = constant_values(own, input_free_tensors(own))
    layers = readers(dependencies, classes, values, own.tensors)
    read = needed_by_means(dependencies.means, classes.of, values, classes.count)
    for reader in layers.values():
        read[reader.inputs[reader.constants.isnan()]] = True
    written = {weight: reader.outputs for weight, reader in layers.items()}
    written |= {weight: classes.slices[weight, 0] for weight in dependencies.depthwise}
    found = torch.zeros(len(gone), dtype=torch.bool)
    for weight, indices in written.items():
        sets = members.get(owner_of(weight))
        if sets is not None:
            found[sets[read[indices]]] = True
    return found[:-1]


def _row_of(matrix: Sequence[Sequence[int]], ours: Tensor, n_sets: int) -> Tensor:
    """Row of a matrix of set numbers that each of our sets lies in, from 1; 0 = none."""
    row = torch.zeros(n_sets + 1, dtype=torch.long)
    for number, sets in enumerate(matrix, 1):
        row[ours[list(sets)]] = number
    return row[:-1]


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
