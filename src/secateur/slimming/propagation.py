"""Propagation: channel labels travel through the graph and meet the labels they depend on.

Every convolution and linear layer writes new labels, one per filter. Data movement moves the
labels as it moves elements; pointwise operators join the labels of their operands; a layer that
reads a tensor ties the slices of its weight to the labels of that tensor. Joined labels can only
be removed together. Labels that must stay are pinned, with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from secateur.slimming.channel_labels import ChannelLabels, unlabeled
from secateur.slimming.channel_means import follow_mean
from secateur.slimming.dependencies import ChannelDependencies
from secateur.slimming.graph.expanded_tensors import collapse, shrink, varying_dimensions
from secateur.slimming.graph.network_graph import (
    NetworkGraph,
    is_convolution,
    is_getitem,
    module_name,
    source_line,
)
from secateur.slimming.graph.operators import (
    IDENTITIES,
    MOVES,
    REDUCTIONS,
    is_pointwise,
    operator_name,
    reduced_dimensions,
    shapes_of,
    spatial_dimensions,
)
from secateur.slimming.layer_rules import layer, mixing_norm, per_channel
from secateur.slimming.movement_rules import move

_NORMS = {
    "batch_norm": per_channel,
    "_native_batch_norm_legit_no_training": per_channel,
    "instance_norm": per_channel,
    "prelu": per_channel,
    "_prelu_kernel": per_channel,
    "layer_norm": mixing_norm,
    "native_layer_norm": mixing_norm,
    "group_norm": mixing_norm,
    "native_group_norm": mixing_norm,
}


def propagate_channels(
    traced: NetworkGraph,
    known: Mapping[fx.Node, Tensor],
    modules: Mapping[str, nn.Module],
    written: Mapping[tuple[str, int], Tensor] | None = None,
    *,
    rewrite: bool = False,
) -> ChannelDependencies:
    """Propagate labels from every layer that writes channels to every one that reads them.

    Args:
        traced: The operator graph.
        known: Nodes that do not depend on the inputs, with their values.
        modules: Modules of the traced network by each of their names.
        written: Labels that layers write, by weight and dimension; new ones where absent.
        rewrite: Whether integers of modules that say a number of channels may change.

    Returns:
        All dependencies between the labels.
    """
    state = ChannelLabels(traced, known, modules, written or {}, rewrite)
    for node in traced.nodes:
        if node.op == "call_function":
            state.labels[node] = _call(state, node)
    for node in traced.output.all_input_nodes:
        state.pin(node, "it is an output of the network")
    dependencies = state.dependencies
    for (name, _), members in dependencies.slices.items():
        if name in state.whole:
            dependencies.pin(members, f"{name} is also used as a whole")
        if name in dependencies.elements:
            reason = f"{name} is also used outside its layer"
            dependencies.pin(torch.cat([members, dependencies.elements[name].reshape(-1)]), reason)
    return dependencies


def _call(state: ChannelLabels, node: fx.Node) -> tuple[Tensor, ...]:
    """Labels of the results of a call: one rule per class of operators."""
    if is_getitem(node):
        source, index = node.args
        assert isinstance(source, fx.Node)
        assert isinstance(index, int)
        return (state.all_of(source)[index],)
    name = operator_name(node)
    where = f"{module_name(node) or 'the network itself'} ({name or node.target})"
    state.dependencies.sources.setdefault(where, source_line(node))
    if not node.all_input_nodes:
        return unlabeled(node)
    if is_convolution(node) or name == "linear":
        return layer(state, node, where)
    if name in _NORMS:
        return _NORMS[name](state, node, where)
    if spatial_dimensions(node):
        labels = state.of(node.all_input_nodes[0])
        mixed = range(labels.dim() - spatial_dimensions(node), labels.dim())
        first = state.dependencies.merge(labels, mixed, where)
        return tuple(first.expand(shape) for shape in shapes_of(node))
    if name in IDENTITIES:
        return state.same(node, state.of(node.all_input_nodes[0]))
    if name in MOVES:
        return move(state, node, name, where)
    if name in REDUCTIONS and len(node.all_input_nodes) == 1:
        return _reduction(state, node, where)
    if is_pointwise(node) or name in ("max", "min"):
        return _pointwise(state, node, where)
    return state.unknown(node, where)


def _reduction(state: ChannelLabels, node: fx.Node, where: str) -> tuple[Tensor, ...]:
    """Sums, means and softmax: what is mixed into one goes together."""
    labels = state.of(node.all_input_nodes[0])
    dims = reduced_dimensions(node, labels.dim())
    varying = set(varying_dimensions(labels))
    if varying <= set(dims) and varying:
        if operator_name(node) == "mean" and len(varying) == 1:
            vector = shrink(labels).reshape(-1)
            mean = follow_mean(node, varying.pop(), vector, state.traced, state.modules)
            if mean is not None:
                state.dependencies.means.append(mean)
                return unlabeled(node)
        state.dependencies.pin(labels, f"{where} mixes channels")
        return unlabeled(node)
    # What lies along another dimension too, such as the paths of a selective kernel, goes
    # with all that is mixed into one.
    state.dependencies.merge(labels, dims, where)
    first = collapse(labels, dims)
    return tuple(
        (first if first.dim() == len(shape) else first.squeeze(dims)).expand(shape)
        for shape in shapes_of(node)
    )


def _pointwise(state: ChannelLabels, node: fx.Node, where: str) -> tuple[Tensor, ...]:
    """Sums, products and functions of single elements: operands that meet go together."""
    operands = node.all_input_nodes
    result: Tensor | None = None
    for operand in operands:
        labels = state.of(operand)
        if labels.numel() == 1 and len(operands) > 1:
            state.pin(operand, f"{where} applies it to every channel")
        else:
            result = labels if result is None else state.dependencies.meet(result, labels, where)
    blank = unlabeled(node)
    return blank if result is None else (result.expand(blank[0].shape), *blank[1:])
