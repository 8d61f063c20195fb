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
from secateur.slimming.graph import NetworkGraph, trace
from secateur.slimming.operators import SHUFFLES, bind, operator_name, owner_of, shapes_of
from secateur.slimming.surgery import Cut, apply_cut


def resolve_reshapes(model: nn.Module, traced: NetworkGraph, flow: ChannelDependencies) -> None:
    """Decide for every reshaped tensor along which dimension it can lose channels, if any.

    Labels at one index of that dimension are joined. If no size follows the number of channels,
    all labels of the tensor are pinned.

    Args:
        model: The network.
        traced: Its operator graph.
        flow: Dependencies between channel labels. Tensors that are decided leave ``spreads``;
            those with a label that is pinned elsewhere cannot be doubled and stay in it.
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
        for spread in spreads:
            _resolve(spread, flow, traced.nodes, alone)
    resolved = {id(spread) for spreads in open_spreads.values() for spread in spreads}
    flow.spreads = [spread for spread in flow.spreads if id(spread) not in resolved]


def _resolve(
    spread: SplitChannels,
    flow: ChannelDependencies,
    nodes: Sequence[fx.Node],
    wider: Sequence[fx.Node] | None,
) -> None:
    """Join labels across the one dimension that has doubled; pin all if there is none."""
    grown: list[int] = []
    if wider is not None:
        before, after = _sizes(nodes[spread.position]), _sizes(wider[spread.position])
        grown = [d for d, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    if len(grown) == 1 and grown[0] in varying_dimensions(spread.labels):
        flow.vector(spread.labels, grown[0], "a reshape")
    else:
        flow.pin(spread.labels, "the forward reshapes it to a size that is written down")


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
    blocks = {}
    for weight, inputs in flow.grouped.items():
        each = times[classes.of[inputs]].view(flow.groups[weight], -1)
        column = torch.arange(each.shape[1])
        blocks[weight] = torch.stack([column.repeat_interleave(row) for row in each])
    return Cut(kept, blocks, groups)
