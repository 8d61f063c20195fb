"""What a scope ranks: single filters, or sets of filters that can be removed together."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.filters import as_arguments, number_of_filters
from secateur.pruning.masks import apply_masks
from secateur.slimming.analysis import analyze, cut_to, find_dependencies
from secateur.slimming.dependencies import ChannelClasses, ChannelDependencies
from secateur.slimming.equivalence import outputs
from secateur.slimming.graph import NetworkGraph, trace
from secateur.slimming.liveness import restore_valid_shapes
from secateur.slimming.operators import owner_of
from secateur.slimming.surgery import apply_cut

FIXED = -1  # the set of filters that are never removed


@dataclass(frozen=True, slots=True)
class Coupling:
    """What ties the filters of a network.

    Args:
        channels: All channel sets of the network.
        numbers: Which of them each of ours is, (n_sets,).
        align: Numbers of filters become multiples of this, or stay whole.
    """

    channels: CoupledSets
    numbers: Tensor
    align: int


@dataclass(frozen=True, slots=True)
class FilterSets:
    """Sets of filters that may be removed, and in which layers each lies.

    Whatever share of each unit is left is left of each layer.

    Args:
        of: Layer or batch norm -> set of each of its channels, -1 = stays, (n_filters,).
        layers: Names of the layers among ``of``.
        layer_set: Which combination of layers each set lies in, numbered from 0, (n_sets,).
        tied_sets: Combinations of layers that have to lose equally many sets, by set, (n_sets,).
        filters: Filters in each set, (n_sets,).
        coupling: What ties channels; None where every filter is a set of its own.
    """

    of: dict[str, Tensor]
    layers: tuple[str, ...]
    layer_set: Tensor
    tied_sets: Tensor
    filters: Tensor
    coupling: Coupling | None = None

    def masks(self, removed: Tensor, scores: Tensor) -> dict[str, Tensor]:
        """Masks without the removed sets.

        The best sets are given back where a grouped convolution or an equal split needs it.

        Args:
            removed: Whether a set goes, (n_sets,) bool.
            scores: Score of each set, (n_sets,).

        Returns:
            Per layer, and per batch norm of coupled channels, a mask (n_filters,), True = kept.
        """
        kept = ~removed
        if self.coupling is not None:
            kept = ~self._settled(removed, scores, self.coupling)
        # One more entry for the filters that stay, which have the number -1.
        kept = torch.cat([kept, torch.ones(1, dtype=torch.bool)])
        return {name: kept[of] for name, of in self.of.items()}

    def _settled(self, removed: Tensor, scores: Tensor, coupling: Coupling) -> Tensor:
        every = torch.zeros(len(coupling.channels.sets), dtype=torch.float64)
        every[coupling.numbers] = scores
        chosen = coupling.numbers[removed].tolist()
        gone = coupling.channels.removable_of(chosen, every.tolist(), coupling.align)
        goes = torch.zeros(len(every), dtype=torch.bool)
        goes[list(gone)] = True
        return goes[coupling.numbers]


def single_filters(layers: Mapping[str, nn.Module]) -> FilterSets:
    """Every filter is a set of its own, and every layer a unit."""
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
) -> FilterSets:
    """All that residual sums, depthwise convolutions, concatenation and shared weights tie.

    Only sets that slimming can remove are offered: every layer that writes the channel may be
    pruned, and without them it is zero, or a constant that the layers behind can take over.

    Args:
        model: Network; not changed.
        example_inputs: One input tensor or the positional arguments of the forward.
        layers: Layers that may be pruned, by name.
        align: Numbers of filters become multiples of this, or stay whole.

    Raises:
        InputError: If the network cannot be traced or nothing of it can be removed.
    """
    channels = find_coupled_sets(model, example_inputs)
    allowed = torch.tensor(
        [s.removable and all(layer in layers for layer, _ in s.filters) for s in channels.sets]
    )
    members = _members(model, channels)
    allowed &= ~_leave_a_constant(model, example_inputs, members, allowed)
    numbers = allowed.nonzero()[:, 0]
    n_sets = len(numbers)
    if n_sets == 0:
        raise InputError(
            f"{type(model).__name__} has no channels that can be removed: every one reaches an "
            "output, a fixed size or an excluded layer; use scope=independent"
        )
    ours = torch.full((len(channels.sets) + 1,), FIXED)  # the last entry is for -1
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


def _alike(properties: Sequence[Tensor]) -> Tensor:
    """Number of the combination of properties that each set has, from 0, (n_sets,)."""
    rows = torch.stack(list(properties), 1).numpy()
    numbers = np.unique(rows, axis=0, return_inverse=True)[1]
    return torch.from_numpy(numbers.reshape(-1).astype(np.int64))


def _members(model: nn.Module, channels: CoupledSets) -> dict[str, Tensor]:
    """Channel set of each channel of each layer and batch norm, -1 = none, (n_filters,)."""
    found: dict[str, list[tuple[int, int]]] = {}
    for number, channel_set in enumerate(channels.sets):
        for name, position in (*channel_set.filters, *channel_set.norms):
            found.setdefault(name, []).append((position, number))
    members = {}
    for name, pairs in found.items():
        module = model.get_submodule(name)
        # Attention writes channels too, but its weights have other names: nothing masks them.
        if isinstance(getattr(module, "weight", None), Tensor):
            size = getattr(module, "num_features", None) or number_of_filters(module)
            positions, numbers = torch.tensor(pairs).T
            members[name] = torch.full((size,), FIXED)
            members[name][positions] = numbers
    return members


def _leave_a_constant(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    members: Mapping[str, Tensor],
    allowed: Tensor,
) -> Tensor:
    """Sets that, once masked, emit a constant that some layer cannot take over, (sets,) bool."""
    subject = copy.deepcopy(model)
    gone = torch.cat([allowed, torch.zeros(1, dtype=torch.bool)])
    apply_masks(subject, {name: ~gone[sets] for name, sets in members.items()})
    analysis = analyze(subject, trace(subject, example_inputs))
    read = torch.zeros(analysis.classes.count, dtype=torch.bool)
    for reader in analysis.layers.values():
        read[reader.inputs[reader.constants.isnan()]] = True
    written = {weight: reader.outputs for weight, reader in analysis.layers.items()}
    written |= {weight: analysis.classes.slices[weight, 0] for weight in analysis.flow.depthwise}
    found = torch.zeros(len(gone), dtype=torch.bool)
    for weight, classes in written.items():
        sets = members.get(owner_of(weight))
        if sets is not None:
            found[sets[read[classes]]] = True
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
        reason: Why the set has to stay; empty if it may go.
    """

    filters: tuple[tuple[str, int], ...]
    norms: tuple[tuple[str, int], ...]
    reason: str

    @property
    def removable(self) -> bool:
        """Whether the set may go."""
        return not self.reason


class CoupledSets:
    """All channel sets of a network, and what must hold between them.

    Args:
        sets: The sets, in the order in which the network runs through their layers.
        equal: Matrices of set numbers whose rows have to lose equally many; -1 stands for
            channels that no set holds. The group of a grouped convolution may also go whole.
    """

    def __init__(
        self, traced: NetworkGraph, flow: ChannelDependencies, classes: ChannelClasses
    ) -> None:
        """Collect what each class of channels consists of."""
        filters: dict[int, list[tuple[str, int]]] = {}
        norms: dict[int, list[tuple[str, int]]] = {}
        writers = {read.weight: 1 if read.layout.transposed else 0 for read in flow.reads}
        writers |= dict.fromkeys(flow.depthwise, 0)
        for (name, dim), members in classes.slices.items():
            layer, _, tensor = name.rpartition(".")
            if writers.get(name) == dim:
                found = filters
            elif tensor == "running_mean":
                found = norms
            else:
                continue
            for position, index in enumerate(members.tolist()):
                found.setdefault(index, []).append((layer, position))
        # Without nodes of the graph, which could not be handed to another process.
        self._tensors, self._flow, self._classes = traced.tensors, replace(flow, reads=[]), classes
        self._classes_of_sets = list(filters)
        numbers = {index: number for number, index in enumerate(filters)}
        self.sets = tuple(
            CoupledSet(tuple(members), tuple(norms.get(index, ())), classes.pinned.get(index, ""))
            for index, members in filters.items()
        )
        self.equal = tuple(
            tuple(tuple(numbers.get(i, -1) for i in row) for row in classes.of[matrix].tolist())
            for matrix in (*flow.equal_rows, *_groups(flow))
        )

    def removable_of(
        self, chosen: Collection[int], scores: Sequence[float] | None = None, align: int = 1
    ) -> set[int]:
        """Those of the chosen sets that can really go.

        Args:
            chosen: Numbers of the sets to remove.
            scores: Importance of every set; where one has to be given back, it is the most
                important one. Without scores it is the one with the fewest parameters.
            align: Numbers of filters become multiples of this, or stay whole.
        """
        index_of = self._classes_of_sets
        live = torch.ones(self._classes.count, dtype=torch.bool)
        live[[index_of[number] for number in chosen if self.sets[number].removable]] = False
        cost = None
        if scores is not None:
            cost = torch.zeros(self._classes.count)
            cost[index_of] = -torch.tensor(list(scores), dtype=cost.dtype)
        kept = restore_valid_shapes(live, self._flow, self._classes, self._tensors, align, cost)
        return {number for number in chosen if not bool(kept[index_of[number]])}


def _groups(flow: ChannelDependencies) -> list[Tensor]:
    """Labels that grouped convolutions read and write, one matrix each, a row per group."""
    return [
        labels.view(flow.groups[weight], -1)
        for weight, inputs in flow.grouped.items()
        for labels in (inputs, flow.slices[weight, 0])
    ]


def find_coupled_sets(model: nn.Module, example_inputs: Tensor | Sequence[Any]) -> CoupledSets:
    """Find the sets of filters that can only be removed together.

    Args:
        model: Any network that ``trace`` accepts; it stays untouched.
        example_inputs: One input tensor or the positional arguments of the forward.

    Raises:
        InputError: If the network cannot be traced.
    """
    arguments = as_arguments(example_inputs)
    traced = trace(model, arguments)
    _, flow, classes = find_dependencies(model, traced)
    # Try to cut every second set: a forward with sizes written down fails at that.
    kept = torch.ones(classes.count, dtype=torch.bool)
    kept[classes.removable.nonzero()[::2, 0]] = False
    kept = restore_valid_shapes(kept, flow, classes, traced.tensors)
    try:
        outputs(apply_cut(model, cut_to(kept, flow, classes)), arguments)
    except (RuntimeError, ValueError, AssertionError, IndexError):
        _, flow, classes = find_dependencies(model, traced, fixed_sizes=True)
    return CoupledSets(traced, flow, classes)
