"""The analysis of a network, step by step: dependencies, classes, live channels, shapes, cut."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from secateur.slimming.absorption import find_carriers, folds
from secateur.slimming.channel_means import needed_by_means, rescalings
from secateur.slimming.dependencies import (
    ChannelClasses,
    ChannelDependencies,
    connected,
    find_classes,
)
from secateur.slimming.equivalence import outputs
from secateur.slimming.graph.constant_propagation import constant_values, input_free_tensors
from secateur.slimming.graph.expanded_tensors import shrink
from secateur.slimming.graph.network_graph import NetworkGraph
from secateur.slimming.graph.operators import owner_of
from secateur.slimming.liveness import (
    Reader,
    live_classes,
    read_classes,
    readers,
    restore_valid_shapes,
)
from secateur.slimming.propagation import propagate_channels
from secateur.slimming.reshape_probe import resolve_reshapes
from secateur.slimming.surgery import Cut, apply_cut
from secateur.slimming.written_sizes import count_anew

# What is assumed of the sizes of reshapes and splits, from the boldest on.
SIZES = ("rewritten", "computed", "tried", "fixed")

_MOST_TRIALS = 64  # forwards that look for the tensors whose size is written down


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is known about the channels of a network, and which of them stay.

    Args:
        traced: The operator graph.
        dependencies: Dependencies between channel labels.
        classes: Sets of channels that can only be removed together.
        layers: Weight name -> the layer that reads through it.
        live: Classes that an output may depend on, (classes,) bool.
        shaped: Classes among them that stay for the shape of a tensor alone, (classes,) bool.
        kept: Classes that stay, (classes,) bool.
        cut: Indices that stay of each tensor.
    """

    traced: NetworkGraph
    dependencies: ChannelDependencies
    classes: ChannelClasses
    layers: dict[str, Reader]
    live: Tensor
    shaped: Tensor
    kept: Tensor
    cut: Cut


def find_dependencies(
    model: nn.Module, traced: NetworkGraph, *, sizes: str = "rewritten"
) -> tuple[ChannelDependencies, ChannelClasses]:
    """Find which channels of a network can only be removed together, once for all its weights.

    Args:
        model: The network.
        traced: Its operator graph.
        sizes: ``rewritten`` sets integers of modules that say a number of channels, ``computed``
            leaves them alone, ``tried`` does the first and keeps the channels of those reshaped or
            split tensors without which the forward fails, and ``fixed`` keeps those of all.

    Returns:
        The dependencies between channel labels, and the classes of labels.
    """
    key = f"dependencies, sizes={sizes}"
    if key not in traced.findings:
        known = input_free_tensors(traced)
        modules = dict(model.named_modules(remove_duplicate=False))
        rewrite = sizes in ("rewritten", "tried")
        dependencies = propagate_channels(traced, known, modules, rewrite=rewrite)
        if sizes == "fixed":
            for labels in dependencies.sized:
                dependencies.pin(labels, _WRITTEN)
        resolve_reshapes(model, traced, dependencies, rewrite=rewrite)
        if sizes == "tried":
            for labels in _failing(model, traced, dependencies):
                dependencies.pin(labels, _WRITTEN)
        traced.findings[key] = dependencies, find_classes(dependencies)
    found: tuple[ChannelDependencies, ChannelClasses] = traced.findings[key]
    return found


_WRITTEN = "the forward reshapes it to a size that is written down"


def _failing(
    model: nn.Module, traced: NetworkGraph, dependencies: ChannelDependencies
) -> Sequence[Tensor]:
    """Labels of reshaped and split tensors whose channels no forward does without.

    Tensors that share channels are tried together, by halves: every second of their channels is
    cut. After ``_MOST_TRIALS`` forwards, what was not tried counts as failing.
    """
    classes = find_classes(dependencies)
    matrices = [
        shrink(labels).reshape(-1) for labels in (*dependencies.sized, *dependencies.equal_rows)
    ]
    members = [classes.of[matrix] for matrix in matrices]
    components = connected([(m[:1].expand_as(m), m) for m in members], classes.count)
    groups: dict[int, list[Tensor]] = {}
    for labels, of in zip(dependencies.sized, members, strict=False):
        free = of[classes.removable[of]]
        if free.numel():
            groups.setdefault(int(components[free[0]]), []).append(labels)
    trials = 0

    def runs(numbers: Sequence[int]) -> bool:
        nonlocal trials
        trials += 1
        chosen = torch.isin(components, torch.tensor(numbers)) & classes.removable
        return trials <= _MOST_TRIALS and runs_without_half(
            model, traced, dependencies, classes, chosen
        )

    def failing(numbers: list[int]) -> list[int]:
        if not numbers or runs(numbers):
            return []
        if len(numbers) == 1:
            return numbers
        half = len(numbers) // 2
        return failing(numbers[:half]) + failing(numbers[half:])

    return [labels for number in failing(list(groups)) for labels in groups[number]]


def runs_without_half(
    model: nn.Module,
    traced: NetworkGraph,
    dependencies: ChannelDependencies,
    classes: ChannelClasses,
    chosen: Tensor,
) -> bool:
    """Whether the forward runs when every second of some classes is cut.

    Args:
        model: The network.
        traced: Its operator graph.
        dependencies: Dependencies between channel labels.
        classes: Sets of channels that can only be removed together.
        chosen: The classes, (classes,) bool.
    """
    kept = torch.ones(classes.count, dtype=torch.bool)
    kept[chosen.nonzero()[::2, 0]] = False
    kept = restore_valid_shapes(kept, dependencies, classes, traced.tensors)
    with suppress(Exception):  # whatever the forward of a network of the user raises
        outputs(apply_cut(model, cut_to(kept, dependencies, classes)).cpu(), traced.arguments)
        return True
    return False


def analyze(
    model: nn.Module, traced: NetworkGraph, *, align: int = 1, sizes: str = "rewritten"
) -> Analysis:
    """Find out what can be removed from a network.

    Args:
        model: The network.
        traced: Its operator graph.
        align: Numbers of filters become multiples of this, or stay whole.
        sizes: ``rewritten`` sets integers of modules that say a number of channels, ``computed``
            leaves them alone, ``tried`` does the first and keeps the channels of those reshaped or
            split tensors without which the forward fails, and ``fixed`` keeps those of all.
    """
    dependencies, classes = find_dependencies(model, traced, sizes=sizes)
    return plan_cut(traced, dependencies, classes, align)


def plan_cut(
    traced: NetworkGraph, dependencies: ChannelDependencies, classes: ChannelClasses, align: int = 1
) -> Analysis:
    """Decide what to remove, from known dependencies and the present values of the tensors.

    Args:
        traced: The operator graph.
        dependencies: Dependencies between channel labels.
        classes: Sets of channels that can only be removed together.
        align: Numbers of filters become multiples of this, or stay whole.
    """
    values = constant_values(traced, input_free_tensors(traced))
    layers = readers(dependencies, classes, values, traced.tensors)
    also = needed_by_means(dependencies.means, classes.of, values, classes.count)
    live = live_classes(layers, classes, also=also)
    merges = find_carriers(layers, classes, live)
    live = live_classes(layers, classes, absorbed=merges, also=also)
    kept = restore_valid_shapes(live, dependencies, classes, traced.tensors, align)
    shaped = torch.zeros_like(live)
    # What stays for its shape alone and is read must still compute what it did: a layer that is
    # called twice may have to keep channels for it whose constants no single bias can replace.
    while bool((needed := kept & ~live & read_classes(layers, classes, kept)).any()):
        shaped |= needed
        live = live_classes(layers, classes, absorbed=merges, also=live | needed)
        kept = restore_valid_shapes(live, dependencies, classes, traced.tensors, align)
    cut = replace(
        cut_to(kept, dependencies, classes),
        merges=[merge for index in merges if not kept[index] for merge in merges[index]],
        folds=folds(traced, layers, kept, traced.tensors),
    )
    return Analysis(traced, dependencies, classes, layers, live, shaped, kept, cut)


def cut_to(kept: Tensor, dependencies: ChannelDependencies, classes: ChannelClasses) -> Cut:
    """Build the cut that keeps some classes.

    Args:
        kept: Classes that stay, (classes,) bool.
        dependencies: Dependencies between channel labels.
        classes: Sets of channels that can only be removed together.
    """
    blocks: dict[str, Tensor] = {}
    groups = {
        owner_of(weight): int(kept[classes.slices[weight, 0]].sum()) // filters
        for weight, filters in dependencies.depthwise.items()
    }
    for weight, inputs in dependencies.grouped.items():
        rows = kept[classes.of[inputs]].view(dependencies.groups[weight], -1)
        alive = rows.any(1)
        width = int(rows.sum(1).max())
        # The filters of a group that goes are cut away whatever columns they have.
        rows[~alive] = torch.arange(rows.shape[1]) < width
        blocks[weight] = rows.nonzero()[:, 1].view(len(rows), width)
        groups[owner_of(weight)] = int(alive.sum())
    for name, (labels, count) in dependencies.group_norms.items():
        groups[name] = int(kept[classes.of[labels]].view(count, -1).any(1).sum())
    indices = {
        (name, dim): kept[members].nonzero()[:, 0]
        for (name, dim), members in classes.slices.items()
        if not (dim == 1 and name in blocks)
    }
    sizes = count_anew(dependencies.written, kept[classes.of])
    scaled = rescalings(dependencies.means, kept[classes.of])
    return Cut(indices, blocks, groups, sizes=sizes, rescalings=scaled)
