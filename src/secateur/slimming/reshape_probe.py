"""Reshape probe: which sizes of a reshape follow the number of channels, found by doubling it.

A graph holds numbers. In ``x.view(b, 2, c // 2, h, w)`` it does not tell the 2, which is the same
for any number of channels, from the ``c // 2``, which the slim forward computes anew. Tracing the
network again with every channel twice does: the size that has doubled is the one along which
channels can be removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from secateur.errors import InputError
from secateur.slimming.dependencies import (
    ChannelClasses,
    ChannelDependencies,
    SplitChannels,
    connected,
    find_classes,
)
from secateur.slimming.graph.expanded_tensors import shrink, varying_dimensions
from secateur.slimming.graph.network_graph import NetworkGraph, module_name, trace
from secateur.slimming.graph.operators import SHUFFLES, bind, operator_name, owner_of, shapes_of
from secateur.slimming.surgery import Cut, apply_cut
from secateur.slimming.written_sizes import WrittenSize, count_anew, holds_sizes


def resolve_reshapes(
    model: nn.Module,
    traced: NetworkGraph,
    dependencies: ChannelDependencies,
    *,
    rewrite: bool = False,
) -> None:
    """Decide for every reshaped tensor along which dimension it can lose channels, if any.

    Labels at one index of that dimension are joined. If no size follows the number of channels,
    all labels of the tensor are pinned.

    Args:
        model: The network.
        traced: Its operator graph.
        dependencies: Dependencies between channel labels. Tensors that are decided leave its
            ``splits``; those with a label pinned elsewhere cannot be doubled and stay there.
        rewrite: Whether integers of modules that say a number of channels may change.
    """
    if not dependencies.splits:
        return
    classes = find_classes(replace(dependencies, splits=[]))
    components = _components(dependencies, classes)
    fixed = set(components[~classes.removable].tolist())
    open_splits: dict[int, list[SplitChannels]] = {}
    for split in dependencies.splits:
        component = int(components[classes.of[shrink(split.labels).reshape(-1)[0]]])
        if component not in fixed:
            open_splits.setdefault(component, []).append(split)
    # As a rule one trace serves all components; where it fails, each is tried alone.
    doubled = torch.isin(components, torch.tensor(list(open_splits), dtype=torch.long))
    nodes = _trace_doubled(model, traced, dependencies, classes, doubled)
    for component, splits in open_splits.items():
        alone = nodes
        if nodes is None and len(open_splits) > 1:
            alone = _trace_doubled(model, traced, dependencies, classes, components == component)
        grown = [_grown(split, traced.nodes, alone) for split in splits]
        if None in grown and rewrite:
            written = [_written(split, model, traced.nodes) for split in splits]
            more = [size for size in written if size is not None]
            if more:
                subject = replace(dependencies, written=[*dependencies.written, *more])
                one = _trace_doubled(model, traced, subject, classes, components == component)
                grown_again = [_grown(split, traced.nodes, one) for split in splits]
                if None not in grown_again:
                    grown = grown_again
                    dependencies.written += more
        for split, dim in zip(splits, grown, strict=True):
            if dim is None:
                reason = "the forward reshapes it to a size that is written down"
                dependencies.pin(split.labels, reason)
            else:
                dependencies.vector(split.labels, dim, "a reshape")
    resolved = {id(split) for splits in open_splits.values() for split in splits}
    dependencies.splits = [split for split in dependencies.splits if id(split) not in resolved]


def _grown(
    split: SplitChannels, nodes: Sequence[fx.Node], wider: Sequence[fx.Node] | None
) -> int | None:
    """The one dimension of a reshaped tensor that has doubled; None if there is none."""
    if wider is None:
        return None
    before, after = _sizes(nodes[split.position]), _sizes(wider[split.position])
    grown = [d for d, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    only = len(grown) == 1 and grown[0] in varying_dimensions(split.labels)
    return grown[0] if only else None


def _written(
    split: SplitChannels, model: nn.Module, nodes: Sequence[fx.Node]
) -> WrittenSize | None:
    """The size that the module around a reshape keeps as an integer: of those, the largest."""
    node = nodes[split.position]
    name = module_name(node)
    module = dict(model.named_modules(remove_duplicate=False)).get(name)
    labels = shrink(split.labels)
    dims = [d for d in varying_dimensions(split.labels) if holds_sizes(module, [labels.shape[d]])]
    if not dims:
        return None
    dim = max(dims, key=lambda d: labels.shape[d])
    rows = labels.movedim(dim, 0).reshape(labels.shape[dim], -1)
    return WrittenSize(name, (rows[:, 0],))


def _sizes(node: fx.Node) -> tuple[int, ...]:
    """Sizes that a call lays channels out over; of a shuffle, groups and channels per group."""
    (shape,) = shapes_of(node)
    if operator_name(node) not in SHUFFLES:
        return tuple(shape)
    groups = int(bind(node)["groups"])
    return groups, shape[1] // groups


def _components(dependencies: ChannelDependencies, classes: ChannelClasses) -> Tensor:
    """Component of each class; classes of one must double together, or no forward runs."""
    matrices = [shrink(split.labels) for split in dependencies.splits] + dependencies.equal_rows
    for weight, inputs in dependencies.grouped.items():
        matrices += [inputs, dependencies.slices[weight, 0]]
    members = [classes.of[matrix].reshape(-1) for matrix in matrices]
    return connected([(m[:1].expand_as(m), m) for m in members], classes.count)


def _trace_doubled(
    model: nn.Module,
    traced: NetworkGraph,
    dependencies: ChannelDependencies,
    classes: ChannelClasses,
    doubled: Tensor,
) -> tuple[fx.Node, ...] | None:
    """Trace the network with the channels of some classes doubled.

    Args:
        model: The network.
        traced: Its operator graph.
        dependencies: Dependencies between channel labels.
        classes: Sets of channels that can only be removed together.
        doubled: Classes whose channels are doubled, (classes,) bool.

    Returns:
        The nodes of the new graph; None if the forward fails or calls other operators.
    """
    if not bool(doubled.any()):
        return None
    try:
        wider = trace(
            apply_cut(model, _doubling(doubled, dependencies, classes)), traced.arguments
        ).nodes
    except InputError:
        return None
    same = [node.target for node in wider] == [node.target for node in traced.nodes]
    return wider if same else None


def _doubling(doubled: Tensor, dependencies: ChannelDependencies, classes: ChannelClasses) -> Cut:
    """Build the cut that takes every channel of some classes twice."""
    times = 1 + doubled.long()
    kept = {
        key: torch.arange(len(members)).repeat_interleave(times[members])
        for key, members in classes.slices.items()
        if not (key[1] == 1 and key[0] in dependencies.grouped)
    }
    groups = {
        owner_of(weight): int(times[classes.slices[weight, 0]].sum()) // filters
        for weight, filters in dependencies.depthwise.items()
    }
    for name, (labels, count) in dependencies.group_norms.items():
        each = times[classes.of[labels]].view(count, -1)
        groups[name] = int(each[:, 0].sum())
    blocks = {}
    for weight, inputs in dependencies.grouped.items():
        each = times[classes.of[inputs]].view(dependencies.groups[weight], -1)
        column = torch.arange(each.shape[1])
        blocks[weight] = torch.stack([column.repeat_interleave(row) for row in each])
    sizes = count_anew(dependencies.written, times[classes.of])
    return Cut(kept, blocks, groups, sizes=sizes)
