"""Sets of filters that can only be removed together: what coupled pruning ranks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from secateur.pruning.analysis import couple, cut_to
from secateur.pruning.classes import Classes
from secateur.pruning.equality import outputs
from secateur.pruning.flow import Flow
from secateur.pruning.keeping import settle
from secateur.pruning.surgery import operate
from secateur.pruning.trace import Trace, as_arguments, trace


@dataclass(frozen=True, slots=True)
class ChannelSet:
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


class ChannelSets:
    """All channel sets of a network, and what must hold between them.

    Args:
        sets: The sets, in the order in which the network runs through their layers.
        equal: Matrices of set numbers whose rows have to lose equally many; -1 stands for
            channels that no set holds. The group of a grouped convolution may also go whole.
    """

    def __init__(self, traced: Trace, flow: Flow, classes: Classes) -> None:
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
            ChannelSet(tuple(members), tuple(norms.get(index, ())), classes.pinned.get(index, ""))
            for index, members in filters.items()
        )
        self.equal = tuple(
            tuple(tuple(numbers.get(i, -1) for i in row) for row in classes.of[matrix].tolist())
            for matrix in (*flow.equal_rows, *_groups(flow))
        )

    def settle(
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
        kept = settle(live, self._flow, self._classes, self._tensors, align, cost)
        return {number for number in chosen if not bool(kept[index_of[number]])}


def _groups(flow: Flow) -> list[Tensor]:
    """Labels that grouped convolutions read and write, one matrix each, a row per group."""
    return [
        labels.view(flow.groups[weight], -1)
        for weight, inputs in flow.grouped.items()
        for labels in (inputs, flow.slices[weight, 0])
    ]


def channel_sets(model: nn.Module, example_inputs: Tensor | Sequence[Any]) -> ChannelSets:
    """Find the sets of filters that can only be removed together.

    Args:
        model: Any network that ``trace`` accepts; it stays untouched.
        example_inputs: One input tensor or the positional arguments of the forward.

    Raises:
        InputError: If the network cannot be traced.
    """
    arguments = as_arguments(example_inputs)
    traced = trace(model, arguments)
    _, flow, classes = couple(model, traced)
    # Try to cut every second set: a forward with sizes written down fails at that.
    kept = torch.ones(classes.count, dtype=torch.bool)
    kept[classes.removable.nonzero()[::2, 0]] = False
    kept = settle(kept, flow, classes, traced.tensors)
    try:
        outputs(operate(model, cut_to(kept, flow, classes)), arguments)
    except (RuntimeError, ValueError, AssertionError, IndexError):
        _, flow, classes = couple(model, traced, fixed_sizes=True)
    return ChannelSets(traced, flow, classes)
