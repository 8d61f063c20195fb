"""Run two networks of one architecture side by side, operator by operator, over all pictures.

Layers can be changed on the way: what comes after a layer is computed once, with its new weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from secateur.slimming.graph.network_graph import NetworkGraph


class PairedExecution:
    """Values of the operators of two networks, for every batch of pictures.

    Where both networks compute the same it is computed once, and ``differs`` says so. Values are
    dropped after their last use, so that what is held at once are a few feature maps of all
    pictures.

    Args:
        traced: Operator graph of either network at the size of the pictures.
        dense: One network; not changed.
        masked: The other; its tensors are read anew for every operator.
        batches: Positional arguments of the forward per batch, all of one shape.
        wanted: Nodes whose values are asked for, each as often as it will be released.
    """

    def __init__(
        self,
        traced: NetworkGraph,
        dense: nn.Module,
        masked: nn.Module,
        batches: Sequence[tuple[Any, ...]],
        wanted: Sequence[fx.Node],
    ) -> None:
        self.count = len(batches)
        self._names = traced.names
        self._tensors = (tensors_of(dense), tensors_of(masked))
        device = next(iter(self._tensors[0].values())).device
        self._constants = {node: value.to(device) for node, value in traced.constants.items()}
        self._values: tuple[dict[fx.Node, Any], dict[fx.Node, Any]] = ({}, {})
        needed = ancestors(wanted)
        self._uses = Counter(wanted)
        for node in needed:
            self._uses[node] += sum(user in needed for user in node.users)
        for position, node in enumerate(traced.inputs):
            values = _PerBatch([arguments[position] for arguments in batches])
            self._values[0][node] = self._values[1][node] = values

    def compute(self, node: fx.Node) -> None:
        """Compute a node in both networks; everything that it reads has been computed."""
        first = self._call(node, 0)
        same = not any(self.differs(operand) for operand in node.all_input_nodes)
        self._values[0][node] = first
        self._values[1][node] = first if same else self._call(node, 1)
        for operand in node.all_input_nodes:
            self.release(operand)

    def recompute(self, node: fx.Node) -> None:
        """Compute a node in the second network again, whose weights have changed."""
        self._values[1][node] = self._call(node, 1)

    def differs(self, node: fx.Node) -> bool:
        """Whether the two networks have different values of a node."""
        if (name := self._names.get(node)) is not None:
            first, second = (tensors[name] for tensors in self._tensors)
            return first is not second and not torch.equal(first, second)
        if node in self._constants:
            return False
        return self._values[0][node] is not self._values[1][node]

    def dense(self, node: fx.Node, batch: int) -> Tensor:
        """Value of a node in the first network."""
        return cast("Tensor", self._value(node, 0, batch))

    def masked(self, node: fx.Node, batch: int) -> Tensor:
        """Value of a node in the second network."""
        return cast("Tensor", self._value(node, 1, batch))

    def release(self, node: fx.Node) -> None:
        """Release one use of a node; its value is dropped with the last."""
        self._uses[node] -= 1
        if self._uses[node] <= 0:
            self._values[0].pop(node, None)
            self._values[1].pop(node, None)

    def _value(self, node: object, network: int, batch: int) -> Any:  # noqa: ANN401  operators give tensors, tuples of them and numbers
        if not isinstance(node, fx.Node):
            return node
        if (name := self._names.get(node)) is not None:
            return self._tensors[network][name]
        if node in self._constants:
            return self._constants[node]
        value = self._values[network][node]
        return value[batch] if isinstance(value, _PerBatch) else value

    def _call(self, node: fx.Node, network: int) -> Any:  # noqa: ANN401
        """Results of an operator: one per batch, or a single one if it reads no picture."""
        target = node.target
        assert callable(target)
        values = self._values[network]
        per_batch = any(isinstance(values.get(n), _PerBatch) for n in node.all_input_nodes)

        def call(batch: int) -> Any:  # noqa: ANN401
            def value(operand: fx.Node) -> Any:  # noqa: ANN401
                return self._value(operand, network, batch)

            return target(*map_arg(node.args, value), **map_arg(node.kwargs, value))

        return _PerBatch(call(batch) for batch in range(self.count)) if per_batch else call(0)


def bytes_held(order: Sequence[fx.Node], wanted: Sequence[fx.Node]) -> int:
    """Most bytes of values that both networks hold at once for one batch of pictures.

    An upper bound: what both compute alike is counted twice.

    Args:
        order: Nodes in the order in which they are computed.
        wanted: As of `PairedExecution`; taken to be released once all is computed that reads them.
    """
    last = {operand: place for place, n in enumerate(order) for operand in n.all_input_nodes}
    place_of = {node: place for place, node in enumerate(order)}
    for node in wanted:
        last[node] = max(last.get(node, 0), place_of.get(node, 0))
    ends: dict[int, int] = Counter()
    held = most = 0
    for place, node in enumerate(order):
        size = _bytes(node.meta.get("val"))
        held += size
        ends[last.get(node, place)] += size
        most = max(most, held)
        held -= ends[place]
    return 2 * most


def _bytes(value: object) -> int:
    """Bytes of a tensor or of a tuple of them."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    return sum(map(_bytes, value)) if isinstance(value, tuple | list) else 0


class _PerBatch(list[Any]):
    """Values of a node that depends on the pictures."""


def ancestors(nodes: Collection[fx.Node]) -> set[fx.Node]:
    """Nodes and everything that their values depend on."""
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a network by name, each once."""
    tensors: dict[str, Tensor] = dict(model.named_buffers())
    tensors |= dict(model.named_parameters())
    return tensors
