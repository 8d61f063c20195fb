"""Rules of layers: what they tie to the channels that they read, and what labels they write."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from secateur.slimming.channel_labels import ChannelLabels
from secateur.slimming.dependencies import LabeledCall
from secateur.slimming.graph.expanded_tensors import along_dimension, varying_dimensions
from secateur.slimming.graph.network_graph import module_name
from secateur.slimming.graph.operators import bind, layout_of, operator_name, owner_of, shapes_of


def layer(state: ChannelLabels, node: fx.Node, where: str) -> tuple[Tensor, ...]:
    """Convolution and linear layer: one label per filter, at every call the same."""
    a = bind(node)
    weight, bias = state.traced.name(a["weight"]), state.traced.name(a["bias"])
    if weight is None or (bias is None and a["bias"] is not None):
        return state.unknown(node, where)
    (shape,) = shapes_of(node)
    layout = layout_of(node)
    groups, transposed = layout.groups, layout.transposed
    read_dim, write_dim = (0, 1) if transposed else (1, 0)
    inputs = state.dependencies.vector(state.of(a["input"]), layout.dim, where)
    # The same filters write the same labels at every call.
    outputs = state.written.get((weight, write_dim))  # (filters,)
    if outputs is None:
        outputs = state.written[weight, write_dim] = state.dependencies.fresh(shape[layout.dim])
    module = state.module_of(node, weight)
    # With one filter per channel, a transposed one has them along its first dimension too.
    own = not transposed or (len(inputs) == len(outputs) and module is not None)
    depthwise = groups == len(inputs) > 1 and own
    if groups > 1 and not depthwise and module is None:
        state.dependencies.pin(
            torch.cat([inputs, outputs]), f"{where} has a fixed number of groups"
        )
    if depthwise:
        state.dependencies.depthwise[weight] = len(outputs) // groups
        state.dependencies.join(inputs.repeat_interleave(len(outputs) // groups), outputs, where)
    elif groups > 1:
        # Along its second dimension the weight has the channels of one group.
        columns = outputs if transposed else inputs
        state.dependencies.join(
            state.dependencies.grouped.setdefault(weight, columns), columns, where
        )
        state.dependencies.groups[weight] = groups
    if not depthwise and (groups == 1 or transposed):
        state.dependencies.slice(weight, read_dim, inputs, where)
    state.dependencies.slice(weight, 0 if depthwise else write_dim, outputs, where)
    if bias is not None:
        state.dependencies.slice(bias, 0, outputs, where)
    if not depthwise:
        bias = bias or _free_bias(state, module, weight)
        state.dependencies.calls.append(
            LabeledCall(node, a["input"], weight, bias, inputs, outputs, layout)
        )
    return (along_dimension(outputs, layout.dim, shape),)


def _free_bias(state: ChannelLabels, module: nn.Module | None, weight: str) -> str | None:
    """Name of the bias that a layer without one could be given."""
    if module is None:
        return None
    return f"{weight.removesuffix('weight')}bias" if id(module.weight) not in state.tied else None


def per_channel(state: ChannelLabels, node: fx.Node, where: str) -> tuple[Tensor, ...]:
    """Batch norm, instance norm, PReLU: tensors with one entry per channel."""
    source, *parameters = node.all_input_nodes
    labels = state.of(source)
    dim = min(1, labels.dim() - 1)
    vector = state.dependencies.vector(labels, dim, where)
    if not parameters:  # an instance norm that knows its channels as an integer alone
        state.note_sizes(node, [vector])
    for parameter in parameters:
        name = state.traced.names.get(parameter)
        if parameter.meta["val"].numel() != len(vector):
            continue  # one slope for all channels
        if name is None:
            state.dependencies.join(state.of(parameter).reshape(-1), vector, where)
        else:
            state.dependencies.slice(name, 0, vector, where)
    return state.same(node, along_dimension(vector, dim, labels.shape))


def mixing_norm(state: ChannelLabels, node: fx.Node, where: str) -> tuple[Tensor, ...]:
    """Layer norm and group norm: their statistics run over channels."""
    a = bind(node)
    labels = state.of(node.all_input_nodes[0])
    layer_norm = "layer_norm" in operator_name(node)
    shape = a.get("normalized_shape", ())
    module = state.modules.get(module_name(node))
    plain = isinstance(module, nn.GroupNorm | nn.LayerNorm)
    groups = 1 if layer_norm else int(a.get("num_groups", a.get("group", 1)))
    dim = -1 if layer_norm else 1
    varying = varying_dimensions(labels)
    if layer_norm and all(d < labels.dim() - len(shape) for d in varying):
        return state.same(node, labels)  # its statistics run over no channel
    across = layer_norm and (len(shape) > 1 or a["weight"] is None)
    if across or not plain or (state.traced.equal and groups == 1):
        state.dependencies.pin(labels, f"{where} normalises over channels")
        return state.same(node, labels)
    vector = state.dependencies.vector(labels, dim, where)
    if not layer_norm:
        rows = vector.view(groups, -1)
        if state.traced.equal:
            state.dependencies.vector(rows, 0, where)  # a group goes whole
            state.dependencies.group_norms[module_name(node)] = vector, groups
        else:
            state.dependencies.equal(rows)
    for key in ("weight", "bias"):
        if (name := state.traced.name(a[key])) is not None:
            state.dependencies.slice(name, 0, vector, where)
            state.dependencies.norms.add(owner_of(name))
    return state.same(node, along_dimension(vector, dim, labels.shape))
