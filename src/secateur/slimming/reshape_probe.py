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
from secateur.slimming.expanded_tensors import shrink, varying_dimensions
from secateur.slimming.graph import NetworkGraph, module_name, trace
from secateur.slimming.operators import SHUFFLES, bind, operator_name, owner_of, shapes_of
from secateur.slimming.surgery import Cut, apply_cut
from secateur.slimming.written_sizes import NewSize, WrittenSize, holds_sizes


def resolve_reshapes(
    model: nn.Module, traced: NetworkGraph, flow: ChannelDependencies, *, rewrite: bool = False
) -> None:
    """Decide for every reshaped tensor along which dimension it can lose channels, if any.

    Labels at one index of that dimension are joined. If no size follows the number of channels,
    all labels of the tensor are pinned.

    Args:
        model: The network.
        traced: Its operator graph.
        flow: Dependencies between channel labels. Tensors that are decided leave ``spreads``;
            those with a label that is pinned elsewhere cannot be doubled and stay in it.
        rewrite: Whether integers of modules that say a number of channels may change.
    """
    if not flow.spreads:
        return
    classes = find_classes(replace(flow, spreads=[]))
    components = _components(flow, classes)
    fixed = set(components[~classes.removable].tolist())
    open_spreads: dict[int, list[SplitChannels]] = {}
    for spread in flow.spreads:
        component = int(components[classes.of[shrink(spread.labels).reshape(-1)[0]]])
        if component not in fixed:
            open_spreads.setdefault(component, []).append(spread)
    # As a rule one trace serves all components; where it fails, each is tried alone.
    doubled = torch.isin(components, torch.tensor(list(open_spreads), dtype=torch.long))
    nodes = _trace_doubled(model, traced, flow, classes, doubled)
    for component, spreads in open_spreads.items():
        alone = nodes
        if nodes is None and len(open_spreads) > 1:
            alone = _trace_doubled(model, traced, flow, classes, components == component)
        follows = [_grown(spread, traced.nodes, alone) for spread in spreads]
        if None in follows and rewrite:
            written = [_written(spread, model, traced.nodes) for spread in spreads]
            more = [size for size in written if size is not None]
            if more:
                subject = replace(flow, written=[*flow.written, *more])
                one = _trace_doubled(model, traced, subject, classes, components == component)
                again = [_grown(spread, traced.nodes, one) for spread in spreads]
                if None not in again:
                    follows = again
                    flow.written += more
        for spread, dim in zip(spreads, follows, strict=True):
            if dim is None:
                reason = "the forward reshapes it to a size that is written down"
                flow.pin(spread.labels, reason)
            else:
                flow.vector(spread.labels, dim, "a reshape")
    resolved = {id(spread) for spreads in open_spreads.values() for spread in spreads}
    flow.spreads = [spread for spread in flow.spreads if id(spread) not in resolved]


def _grown(
    spread: SplitChannels, nodes: Sequence[fx.Node], wider: Sequence[fx.Node] | None
) -> int | None:
    """The one dimension of a reshaped tensor that has doubled; None if there is none."""
    if wider is None:
        return None
    before, after = _sizes(nodes[spread.position]), _sizes(wider[spread.position])
    grown = [d for d, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    only = len(grown) == 1 and grown[0] in varying_dimensions(spread.labels)
    return grown[0] if only else None


def _written(
    spread: SplitChannels, model: nn.Module, nodes: Sequence[fx.Node]
) -> WrittenSize | None:
    """The size that the module around a reshape keeps as an integer: of those, the largest."""
    node = nodes[spread.position]
    name = module_name(node)
    module = dict(model.named_modules(remove_duplicate=False)).get(name)
    labels = shrink(spread.labels)
    dims = [d for d in varying_dimensions(spread.labels) if holds_sizes(module, [labels.shape[d]])]
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


def _components(flow: ChannelDependencies, classes: ChannelClasses) -> Tensor:
    """Component of each class; classes of one must double together, or no forward runs."""
    matrices = [shrink(spread.labels) for spread in flow.spreads] + flow.equal_rows
    for weight, inputs in flow.grouped.items():
        matrices += [inputs, flow.slices[weight, 0]]
    members = [classes.of[matrix].reshape(-1) for matrix in matrices]
    return connected([(m[:1].expand_as(m), m) for m in members], classes.count)


def _trace_doubled(
    model: nn.Module,
    traced: NetworkGraph,
    flow: ChannelDependencies,
    classes: ChannelClasses,
    doubled: Tensor,
) -> tuple[fx.Node, ...] | None:
    """Trace the network with the channels of some classes doubled.

    Args:
        model: The network.
        traced: Its operator graph.
        flow: Dependencies between channel labels.
        classes: Sets of channels that can only be removed together.
        doubled: Classes whose channels are doubled, (classes,) bool.

    Returns:
        The nodes of the new graph; None if the forward fails or calls other operators.
    """
    if not bool(doubled.any()):
        return None
    try:
        wider = trace(apply_cut(model, _doubling(doubled, flow, classes)), traced.arguments).nodes
    except InputError:
        return None
    same = [node.target for node in wider] == [node.target for node in traced.nodes]
    return wider if same else None


def _doubling(doubled: Tensor, flow: ChannelDependencies, classes: ChannelClasses) -> Cut:
    """Build the cut that takes every channel of some classes twice."""
    times = 1 + doubled.long()
    kept = {
        key: torch.arange(len(members)).repeat_interleave(times[members])
        for key, members in classes.slices.items()
    }
    groups = {
        owner_of(weight): int(times[classes.slices[weight, 0]].sum()) // filters
        for weight, filters in flow.depthwise.items()
    }
    for name, (labels, count) in flow.group_norms.items():
        each = times[classes.of[labels]].view(count, -1)
        groups[name] = int(each[:, 0].sum())
    blocks = {}
    for weight, inputs in flow.grouped.items():
        each = times[classes.of[inputs]].view(flow.groups[weight], -1)
        column = torch.arange(each.shape[1])
        blocks[weight] = torch.stack([column.repeat_interleave(row) for row in each])
    sizes = [
        NewSize(
            size.module,
            size.sizes,
            tuple(int(times[classes.of[part]].sum()) for part in size.labels),
        )
        for size in flow.written
    ]
    return Cut(kept, blocks, groups, sizes=sizes)
