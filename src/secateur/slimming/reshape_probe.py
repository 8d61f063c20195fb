"""Which sizes a forward takes from its channels: seen in a trace of it with twice as many.

A trace holds numbers. It does not tell the 2 of ``x.view(b, 2, c // 2, h, w)``, which stays
whatever goes, from the ``c // 2``, which the slim forward computes anew. A network whose channels
lie there twice tells: the size that has doubled is the one along which channels can go.
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
    """Join the labels of every spread that go together, and pin those of written-down sizes.

    Args:
        model: The network.
        traced: Its operator graph.
        flow: Changed: spreads that are settled leave it. Those with a label that is pinned
            elsewhere cannot be doubled, and stay in it.
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
    # One trace for all as a rule; one that fails says nothing of the sets of channels alone.
    doubled = torch.isin(components, torch.tensor(list(open_spreads), dtype=torch.long))
    nodes = _wider(model, traced, flow, classes, doubled)
    for component, spreads in open_spreads.items():
        alone = nodes
        if nodes is None and len(open_spreads) > 1:
            alone = _wider(model, traced, flow, classes, components == component)
        for spread in spreads:
            _settle(spread, flow, traced.nodes, alone)
    settled = {id(spread) for spreads in open_spreads.values() for spread in spreads}
    flow.spreads = [spread for spread in flow.spreads if id(spread) not in settled]


def _settle(
    spread: SplitChannels,
    flow: ChannelDependencies,
    nodes: Sequence[fx.Node],
    wider: Sequence[fx.Node] | None,
) -> None:
    """Channels go along the one dimension that has doubled, with all that lies across it."""
    grown: list[int] = []
    if wider is not None:
        before, after = _sizes(nodes[spread.position]), _sizes(wider[spread.position])
        grown = [d for d, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    if len(grown) == 1 and grown[0] in varying_dimensions(spread.labels):
        flow.vector(spread.labels, grown[0], "a reshape")
    else:
        flow.pin(spread.labels, "the forward reshapes it to a size that is written down")


def _sizes(node: fx.Node) -> tuple[int, ...]:
    """Sizes over which a call spreads channels: a shuffle's are groups and channels of each."""
    (shape,) = shapes_of(node)
    if operator_name(node) not in SHUFFLES:
        return tuple(shape)
    groups = int(bind(node)["groups"])
    return groups, shape[1] // groups


def _components(flow: ChannelDependencies, classes: ChannelClasses) -> Tensor:
    """Sets of classes that have to double together for any forward to run, (classes,)."""
    matrices = [shrink(spread.labels) for spread in flow.spreads] + flow.equal_rows
    for weight, inputs in flow.grouped.items():
        matrices += [inputs, flow.slices[weight, 0]]
    members = [classes.of[matrix].reshape(-1) for matrix in matrices]
    return connected([(m[:1].expand_as(m), m) for m in members], classes.count)


def _wider(
    model: nn.Module,
    traced: NetworkGraph,
    flow: ChannelDependencies,
    classes: ChannelClasses,
    doubled: Tensor,
) -> tuple[fx.Node, ...] | None:
    """Nodes of the network with some classes twice; None if that runs no such forward.

    Args:
        model: The network.
        traced: Its operator graph.
        flow: Which labels meet where.
        classes: Sets of channels that can only be removed together.
        doubled: Classes whose channels lie there twice, (classes,) bool.
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
    """The cut that takes every channel of some classes twice."""
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
