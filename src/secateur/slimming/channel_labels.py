"""Channel labels: which labels the results of every node hold while a graph is walked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx, nn

from secateur.slimming.dependencies import KEPT, ChannelDependencies, SplitChannels
from secateur.slimming.graph.expanded_tensors import shrink
from secateur.slimming.graph.network_graph import NetworkGraph, module_name
from secateur.slimming.graph.operators import owner_of, shapes_of
from secateur.slimming.written_sizes import WrittenSize, holds_sizes

# A parameter with more elements is no table with an entry per channel; a label for each of them
# would take minutes and gigabytes.
_MOST_ELEMENTS = 2**18


class ChannelLabels:
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
                self.labels[node] = unlabeled(node)
            elif name in self.whole or node.meta["val"].numel() > _MOST_ELEMENTS:
                self.whole.add(name)
                self.labels[node] = unlabeled(node)
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

    def module_of(self, node: fx.Node, weight: str) -> nn.Module | None:
        """The layer that made the call with its own weight; None for a functional call."""
        module = self.modules.get(owner_of(weight))
        own = weight.rpartition(".")[2] == "weight" and module is self.modules.get(
            module_name(node)
        )
        return module if own and isinstance(module, nn.modules.conv._ConvNd | nn.Linear) else None

    def same(self, node: fx.Node, labels: Tensor) -> tuple[Tensor, ...]:
        """Results of a call of which the first has these labels and the others none."""
        return (labels, *unlabeled(node)[1:])

    def unknown(self, node: fx.Node, where: str) -> tuple[Tensor, ...]:
        """Results of a call of which nothing is known: all that it reads stays."""
        for operand in node.all_input_nodes:
            name = self.traced.names.get(operand)
            if name is not None and name not in self.dependencies.elements:
                self.whole.add(name)
            else:
                self.pin(operand, f"{where} needs all of its input")
        return unlabeled(node)

    def as_numbers(self, node: fx.Node) -> Tensor:
        """Labels as numbers that every operator moves, still stored small."""
        labels = self.of(node)
        return shrink(labels).double().expand(labels.shape)

    def note_sizes(self, node: fx.Node, parts: Sequence[Tensor]) -> bool:
        """Note sizes that the module around a call keeps as integers; False if it does not."""
        name = module_name(node)
        sizes = [len(part) for part in parts]
        if not (self.rewrite and parts and holds_sizes(self.modules.get(name), sizes)):
            return False
        self.dependencies.written.append(WrittenSize(name, tuple(parts)))
        return True

    def split_channels(self, node: fx.Node, labels: Tensor) -> None:
        """Note that a call divides channels into parts of one size."""
        self.dependencies.splits.append(SplitChannels(self.position[node], labels))


def unlabeled(node: fx.Node) -> tuple[Tensor, ...]:
    """Results of a call that hold no channels which could be removed."""
    return tuple(torch.tensor(KEPT).expand(shape) for shape in shapes_of(node))
