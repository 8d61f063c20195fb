"""Propagation: channel labels travel through the graph and meet the labels they depend on.

Every convolution and linear layer writes new labels, one per filter. Data movement moves the
labels as it moves elements; pointwise operators join the labels of their operands; a layer that
reads a tensor ties the slices of its weight to the labels of that tensor. Joined labels can only
be removed together. Labels that must stay are pinned, with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx, nn

from secateur.slimming.channel_means import follow_mean
from secateur.slimming.dependencies import KEPT, ChannelDependencies, LabeledCall, SplitChannels
from secateur.slimming.expanded_tensors import along_dimension, collapse, shrink, varying_dimensions
from secateur.slimming.graph import (
    NetworkGraph,
    is_convolution,
    is_getitem,
    module_name,
    source_line,
)
from secateur.slimming.operators import (
    EQUAL_PARTS,
    IDENTITIES,
    MOVES,
    PADS,
    POSITIONS,
    REDUCTIONS,
    RESHAPES,
    SHUFFLES,
    bind,
    is_pointwise,
    layout_of,
    move_elements,
    operator_name,
    owner_of,
    reduced_dimensions,
    shapes_of,
    spatial_dimensions,
)
from secateur.slimming.written_sizes import WrittenSize, holds_sizes


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
    propagation = _ChannelPropagation(traced, known, modules, written or {}, rewrite)
    for node in traced.nodes:
        if node.op == "call_function":
            propagation.labels[node] = propagation.call(node)
    for node in traced.output.all_input_nodes:
        propagation.pin(node, "it is an output of the network")
    dependencies = propagation.dependencies
    for (name, _), members in dependencies.slices.items():
        if name in propagation.whole:
            dependencies.pin(members, f"{name} is also used as a whole")
        if name in dependencies.elements:
            reason = f"{name} is also used outside its layer"
            dependencies.pin(torch.cat([members, dependencies.elements[name].reshape(-1)]), reason)
    return dependencies


# A parameter with more elements is no table with an entry per channel; a label for each of them
# would take minutes and gigabytes.
_MOST_ELEMENTS = 2**18


class _ChannelPropagation:
    """One pass over a graph; ``labels`` holds the labels of the results of each node."""

    def __init__(
        self,
        traced: NetworkGraph,
        known: Mapping[fx.Node, Tensor],
        modules: Mapping[str, nn.Module],
        written: Mapping[tuple[str, int], Tensor],
        rewrite: bool,
    ) -> None:
        self.traced = traced
        self.known = known
        self.modules = modules
        self.dependencies = ChannelDependencies(
            n_labels=1 + max((int(v.max()) for v in written.values()), default=0)
        )
        self.written = dict(written)
        self.position = {node: number for number, node in enumerate(traced.nodes)}
        owners: dict[int, set[int]] = {}
        for module in modules.values():
            for parameter in module._parameters.values():
                owners.setdefault(id(parameter), set()).add(id(module))
        self.tied = {parameter for parameter, layers in owners.items() if len(layers) > 1}
        self.labels: dict[fx.Node, tuple[Tensor, ...]] = {}
        self.rewrite = rewrite
        self.whole: set[str] = set()  # parameters that something uses as one piece

    def all_of(self, node: fx.Node) -> tuple[Tensor, ...]:
        """Labels of a node's results; a parameter used as a plain tensor gets new ones."""
        if node not in self.labels:
            name = self.traced.names.get(node)
            if name is None:
                self.labels[node] = _unlabeled(node)
            elif name in self.whole or node.meta["val"].numel() > _MOST_ELEMENTS:
                self.whole.add(name)
                self.labels[node] = _unlabeled(node)
            else:
                shape = self.traced.tensors[name].shape
                if name not in self.dependencies.elements:
                    self.dependencies.elements[name] = self.dependencies.fresh(shape.numel()).view(
                        shape
                    )
                self.labels[node] = (self.dependencies.elements[name],)
        return self.labels[node]

    def of(self, node: fx.Node) -> Tensor:
        """Labels of a node's first result."""
        return self.all_of(node)[0]

    def pin(self, node: fx.Node, reason: str) -> None:
        """Keep all channels of a node's results."""
        for labels in self.all_of(node):
            self.dependencies.pin(labels, reason)

    def call(self, node: fx.Node) -> tuple[Tensor, ...]:
        """Labels of the results of a call: one rule per class of operators."""
        if is_getitem(node):
            source, index = node.args
            assert isinstance(source, fx.Node)
            assert isinstance(index, int)
            return (self.all_of(source)[index],)
        name = operator_name(node)
        where = f"{module_name(node) or 'the network itself'} ({name or node.target})"
        self.dependencies.sources.setdefault(where, source_line(node))
        if not node.all_input_nodes:
            return _unlabeled(node)
        if is_convolution(node) or name == "linear":
            return self._layer(node, where)
        if name in _RULES:
            return _RULES[name](self, node, where)
        if spatial_dimensions(node):
            labels = self.of(node.all_input_nodes[0])
            mixed = range(labels.dim() - spatial_dimensions(node), labels.dim())
            first = self.dependencies.merge(labels, mixed, where)
            return tuple(first.expand(shape) for shape in shapes_of(node))
        if name in IDENTITIES:
            return self._same(node, self.of(node.all_input_nodes[0]))
        if name in MOVES:
            return self._move(node, name, where)
        if name in REDUCTIONS and len(node.all_input_nodes) == 1:
            return self._reduction(node, where)
        if is_pointwise(node) or name in ("max", "min"):
            return self._pointwise(node, where)
        return self._unknown(node, where)

    # Layers ------------------------------------------------------------------------------------

    def _layer(self, node: fx.Node, where: str) -> tuple[Tensor, ...]:
        a = bind(node)
        weight, bias = self.traced.name(a["weight"]), self.traced.name(a["bias"])
        if weight is None or (bias is None and a["bias"] is not None):
            return self._unknown(node, where)
        (shape,) = shapes_of(node)
        layout = layout_of(node)
        groups, transposed = layout.groups, layout.transposed
        read_dim, write_dim = (0, 1) if transposed else (1, 0)
        inputs = self.dependencies.vector(self.of(a["input"]), layout.dim, where)
        # The same filters write the same labels at every call.
        outputs = self.written.get((weight, write_dim))  # (filters,)
        if outputs is None:
            outputs = self.written[weight, write_dim] = self.dependencies.fresh(shape[layout.dim])
        module = self._module_of(node, weight)
        # With one filter per channel, a transposed one has them along its first dimension too.
        own = not transposed or (len(inputs) == len(outputs) and module is not None)
        depthwise = groups == len(inputs) > 1 and own
        if groups > 1 and not depthwise and module is None:
            self.dependencies.pin(
                torch.cat([inputs, outputs]), f"{where} has a fixed number of groups"
            )
        if depthwise:
            self.dependencies.depthwise[weight] = len(outputs) // groups
            self.dependencies.join(inputs.repeat_interleave(len(outputs) // groups), outputs, where)
        elif groups > 1:
            # Along its second dimension the weight has the channels of one group.
            columns = outputs if transposed else inputs
            self.dependencies.join(
                self.dependencies.grouped.setdefault(weight, columns), columns, where
            )
            self.dependencies.groups[weight] = groups
        if not depthwise and (groups == 1 or transposed):
            self.dependencies.slice(weight, read_dim, inputs, where)
        self.dependencies.slice(weight, 0 if depthwise else write_dim, outputs, where)
        if bias is not None:
            self.dependencies.slice(bias, 0, outputs, where)
        if not depthwise:
            bias = bias or self._free_bias(module, weight)
            self.dependencies.calls.append(
                LabeledCall(node, a["input"], weight, bias, inputs, outputs, layout)
            )
        return (along_dimension(outputs, layout.dim, shape),)

    def _module_of(self, node: fx.Node, weight: str) -> nn.Module | None:
        """The layer that made the call with its own weight; None for a functional call."""
        module = self.modules.get(owner_of(weight))
        own = weight.rpartition(".")[2] == "weight" and module is self.modules.get(
            module_name(node)
        )
        return module if own and isinstance(module, nn.modules.conv._ConvNd | nn.Linear) else None

    def _free_bias(self, module: nn.Module | None, weight: str) -> str | None:
        """Name of the bias that a layer without one could be given."""
        if module is None:
            return None
        return (
            f"{weight.removesuffix('weight')}bias" if id(module.weight) not in self.tied else None
        )

    def _per_channel(self, node: fx.Node, where: str) -> tuple[Tensor, ...]:
        """Batch norm, instance norm, PReLU: tensors with one entry per channel."""
        source, *parameters = node.all_input_nodes
        labels = self.of(source)
        dim = min(1, labels.dim() - 1)
        vector = self.dependencies.vector(labels, dim, where)
        if not parameters:  # an instance norm that knows its channels as an integer alone
            self._written(node, [vector])
        for parameter in parameters:
            name = self.traced.names.get(parameter)
            if parameter.meta["val"].numel() != len(vector):
                continue  # one slope for all channels
            if name is None:
                self.dependencies.join(self.of(parameter).reshape(-1), vector, where)
            else:
                self.dependencies.slice(name, 0, vector, where)
        return self._same(node, along_dimension(vector, dim, labels.shape))

    def _mixing_norm(self, node: fx.Node, where: str) -> tuple[Tensor, ...]:
        """Layer norm and group norm: their statistics run over channels."""
        a = bind(node)
        labels = self.of(node.all_input_nodes[0])
        layer_norm = "layer_norm" in operator_name(node)
        shape = a.get("normalized_shape", ())
        module = self.modules.get(module_name(node))
        plain = isinstance(module, nn.GroupNorm | nn.LayerNorm)
        groups = 1 if layer_norm else int(a.get("num_groups", a.get("group", 1)))
        dim = -1 if layer_norm else 1
        varying = varying_dimensions(labels)
        if layer_norm and all(d < labels.dim() - len(shape) for d in varying):
            return self._same(node, labels)  # its statistics run over no channel
        across = layer_norm and (len(shape) > 1 or a["weight"] is None)
        if across or not plain or (self.traced.equal and groups == 1):
            self.dependencies.pin(labels, f"{where} normalises over channels")
            return self._same(node, labels)
        vector = self.dependencies.vector(labels, dim, where)
        if not layer_norm:
            rows = vector.view(groups, -1)
            if self.traced.equal:
                self.dependencies.vector(rows, 0, where)  # a group goes whole
                self.dependencies.group_norms[module_name(node)] = vector, groups
            else:
                self.dependencies.equal(rows)
        for key in ("weight", "bias"):
            if (name := self.traced.name(a[key])) is not None:
                self.dependencies.slice(name, 0, vector, where)
                self.dependencies.norms.add(owner_of(name))
        return self._same(node, along_dimension(vector, dim, labels.shape))

    # Everything else ---------------------------------------------------------------------------

    def _same(self, node: fx.Node, labels: Tensor) -> tuple[Tensor, ...]:
        return (labels, *_unlabeled(node)[1:])

    def _unknown(self, node: fx.Node, where: str) -> tuple[Tensor, ...]:
        for operand in node.all_input_nodes:
            name = self.traced.names.get(operand)
            if name is not None and name not in self.dependencies.elements:
                self.whole.add(name)
            else:
                self.pin(operand, f"{where} needs all of its input")
        return _unlabeled(node)

    def _reduction(self, node: fx.Node, where: str) -> tuple[Tensor, ...]:
        labels = self.of(node.all_input_nodes[0])
        dims = reduced_dimensions(node, labels.dim())
        varying = set(varying_dimensions(labels))
        if varying <= set(dims) and varying:
            if operator_name(node) == "mean" and len(varying) == 1:
                vector = shrink(labels).reshape(-1)
                mean = follow_mean(node, varying.pop(), vector, self.traced, self.modules)
                if mean is not None:
                    self.dependencies.means.append(mean)
                    return _unlabeled(node)
            self.dependencies.pin(labels, f"{where} mixes channels")
            return _unlabeled(node)
        # What lies along another dimension too, such as the paths of a selective kernel, goes
        # with all that is mixed into one.
        self.dependencies.merge(labels, dims, where)
        first = collapse(labels, dims)
        return tuple(
            (first if first.dim() == len(shape) else first.squeeze(dims)).expand(shape)
            for shape in shapes_of(node)
        )

    def _pointwise(self, node: fx.Node, where: str) -> tuple[Tensor, ...]:
        operands = node.all_input_nodes
        result: Tensor | None = None
        for operand in operands:
            labels = self.of(operand)
            if labels.numel() == 1 and len(operands) > 1:
                self.pin(operand, f"{where} applies it to every channel")
            else:
                result = labels if result is None else self.dependencies.meet(result, labels, where)
        blank = _unlabeled(node)
        return blank if result is None else (result.expand(blank[0].shape), *blank[1:])

    def _move(self, node: fx.Node, name: str, where: str) -> tuple[Tensor, ...]:
        moved = move_elements(node, self._as_numbers, self.known, fill=KEPT)
        if moved is None:
            return self._unknown(node, where)
        after = tuple(shrink(part).long().expand(part.shape) for part in moved)
        before = self.of(node.all_input_nodes[0])
        flat = shrink(before)
        if name in PADS and self.rewrite:
            return (self._padded(node, after[0]),)
        if name in RESHAPES:
            self.dependencies.sized.append(before)
            same = shrink(after[0]).squeeze().shape == flat.squeeze().shape
            if not same and len(varying_dimensions(after[0])) > 1:
                self._split_channels(node, after[0])
        elif name in SHUFFLES:
            groups = int(bind(node)["groups"])
            self._split_channels(node, self.dependencies.vector(before, 1, where).view(groups, -1))
        elif name == "pixel_shuffle":
            # Whether or not a layer behind it ties them: only whole blocks leave a shape.
            factor = int(bind(node)["upscale_factor"])
            blocks = self.dependencies.vector(before, -3, where).view(-1, factor * factor)
            self.dependencies.vector(blocks, 0, where)
        elif name in EQUAL_PARTS:
            parts = [shrink(part).reshape(-1) for part in after]
            if any(len(part) != len(parts[0]) for part in parts):
                self.pin(node.all_input_nodes[0], f"{where} cuts it into unequal parts")
            else:
                self.dependencies.sized.append(before)
                self.dependencies.equal(torch.stack(parts))
                self._written(node, parts[:1])
                self._written(node, [torch.cat(parts)])  # a module may divide what it keeps
        elif name in POSITIONS and any(
            not torch.equal(flat.reshape(-1), shrink(part).reshape(-1)) for part in after
        ):
            if self._written(node, self._picked(node, name, before, after)):
                self.dependencies.sized.append(before)
                return after
            for operand in node.all_input_nodes:
                self.pin(operand, f"{where} picks channels by position")
        return after

    def _as_numbers(self, node: fx.Node) -> Tensor:
        """Labels as numbers that every operator moves, still stored small."""
        labels = self.of(node)
        return shrink(labels).double().expand(labels.shape)

    def _written(self, node: fx.Node, parts: Sequence[Tensor]) -> bool:
        """Note sizes that the module around a call keeps as integers; False if it does not."""
        name = module_name(node)
        sizes = [len(part) for part in parts]
        if not (self.rewrite and parts and holds_sizes(self.modules.get(name), sizes)):
            return False
        self.dependencies.written.append(WrittenSize(name, tuple(parts)))
        return True

    def _padded(self, node: fx.Node, after: Tensor) -> Tensor:
        """Labels behind a padding: zero channels whose number a module keeps may go too."""
        a = bind(node)
        varying = varying_dimensions(after)
        constant = a.get("mode", "constant") == "constant" and not a.get("value")
        if len(varying) != 1 or not constant:
            return after
        dim = varying[0]
        place = 2 * (after.dim() - 1 - dim)
        front, back = (*a["pad"][place : place + 2], 0, 0)[:2]
        vector = shrink(after).reshape(-1).clone()
        ends = [slice(0, front)] * (front > 0) + [slice(len(vector) - back, None)] * (back > 0)
        for end in ends:
            vector[end] = self.dependencies.fresh(len(vector[end]))
        if not ends or not self._written(node, [vector[end] for end in ends]):
            return after
        return along_dimension(vector, dim, after.shape)

    def _picked(
        self, node: fx.Node, name: str, before: Tensor, after: Sequence[Tensor]
    ) -> list[Tensor]:
        """What the numbers of a split or slice along the channels count; nothing for others."""
        a = bind(node)
        varying = varying_dimensions(before)
        if name not in ("slice", "split_with_sizes") or varying != (a["dim"] % before.dim(),):
            return []
        if name == "split_with_sizes":
            return [shrink(part).reshape(-1) for part in after]
        vector = shrink(before).reshape(-1)
        start, end = a["start"] or 0, a["end"]
        if a["step"] != 1 or start < 0 or (end is not None and end < 0):
            return []
        ends = [start, len(vector) if end is None else min(end, len(vector))]
        return [vector[:n] for n in ends if 0 < n < len(vector)]

    def _split_channels(self, node: fx.Node, labels: Tensor) -> None:
        self.dependencies.splits.append(SplitChannels(self.position[node], labels))


_RULES = {
    "batch_norm": _ChannelPropagation._per_channel,
    "_native_batch_norm_legit_no_training": _ChannelPropagation._per_channel,
    "instance_norm": _ChannelPropagation._per_channel,
    "prelu": _ChannelPropagation._per_channel,
    "_prelu_kernel": _ChannelPropagation._per_channel,
    "layer_norm": _ChannelPropagation._mixing_norm,
    "native_layer_norm": _ChannelPropagation._mixing_norm,
    "group_norm": _ChannelPropagation._mixing_norm,
    "native_group_norm": _ChannelPropagation._mixing_norm,
}


def _unlabeled(node: fx.Node) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(KEPT).expand(shape) for shape in shapes_of(node))
