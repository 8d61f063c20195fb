"""Coupling: the sets of filters that a scope ranks, single ones or those removed together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.filters import FilterLayer, number_of_filters
from secateur.pruning.coupled_sets import FIXED, CoupledSets, find_coupled_sets
from secateur.pruning.masks import MaskHolder, scales_channels
from secateur.slimming.channel_means import needed_by_means
from secateur.slimming.graph.constant_propagation import constant_values, input_free_tensors
from secateur.slimming.graph.network_graph import NetworkGraph, trace
from secateur.slimming.graph.operators import owner_of
from secateur.slimming.liveness import readers
from secateur.slimming.report import held_channels


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
