"""The record of which filters, channels and parameter slices belong together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx

from secateur.pruning.labels import (
    broadcast_shape,
    broadcast_small,
    collapse,
    compress,
    distinct,
    varying_dimensions,
)
from secateur.pruning.layout import Layout

KEPT = 0  # the label of everything that is never removed


@dataclass(frozen=True, slots=True)
class Read:
    """One call of a convolution or linear layer that mixes channels.

    Args:
        node: The call.
        source: The node whose result it reads.
        weight: Name of the weight.
        bias: Name of the bias that the layer has, or would have; None if it cannot have one.
        inputs: Labels of the channels it reads, (channels,).
        outputs: Labels of the channels it writes, (filters,).
        layout: How the weight is laid out.
    """

    node: fx.Node
    source: fx.Node
    weight: str
    bias: str | None
    inputs: Tensor
    outputs: Tensor
    layout: Layout


@dataclass(frozen=True, slots=True)
class Spread:
    """A tensor whose channels lie along several dimensions, as a shuffle lays them.

    Args:
        position: Place of the call that laid them out among the nodes of the trace.
        labels: Labels of its elements, or of what a shuffle does inside, (groups, channels).
    """

    position: int
    labels: Tensor


@dataclass(slots=True)
class Flow:
    """What following labels through a trace has found.

    Args:
        reads: Calls of layers that mix channels; depthwise convolutions are not among them.
        slices: (parameter or buffer, dimension) -> label of each index.
        grouped: Weight of a grouped convolution -> labels of the channels it reads, (channels,).
        groups: The same weight -> number of groups.
        depthwise: Weight of a depthwise convolution -> filters per channel.
        elements: Parameter used as a plain tensor -> label of each of its elements.
        joins: Pairs of equally long label vectors that belong together.
        pins: Labels that must stay, and why.
        equal_rows: Label matrices whose rows must keep equally many labels.
        sized: Labels that went through an operator whose sizes the forward may have fixed.
        spreads: Tensors that lose all that lies at one place along one dimension, or nothing.
        n_labels: Number of labels given out, ``KEPT`` included.
    """

    reads: list[Read] = field(default_factory=list)
    slices: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    grouped: dict[str, Tensor] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    depthwise: dict[str, int] = field(default_factory=dict)
    elements: dict[str, Tensor] = field(default_factory=dict)
    joins: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    pins: list[tuple[Tensor, str]] = field(default_factory=list)
    equal_rows: list[Tensor] = field(default_factory=list)
    sized: list[Tensor] = field(default_factory=list)
    spreads: list[Spread] = field(default_factory=list)
    n_labels: int = 1

    def fresh(self, count: int) -> Tensor:
        """New labels, (count,)."""
        self.n_labels += count
        return torch.arange(self.n_labels - count, self.n_labels)

    def join(self, a: Tensor, b: Tensor, where: str) -> None:
        """Tie labels pairwise; a label that meets something without one has to stay."""
        different = a != b
        a, b = a[different], b[different]
        if a.numel():
            self.joins.append((a, b))
            self.pin(torch.cat([a[b == KEPT], b[a == KEPT]]), f"{where} adds a fixed tensor to it")

    def pin(self, labels: Tensor, reason: str) -> None:
        """Keep these labels for ever."""
        labels = distinct(labels)
        labels = labels[labels != KEPT]
        if labels.numel():
            self.pins.append((labels, reason))

    def merge(self, labels: Tensor, dims: Collection[int], where: str) -> Tensor:
        """Cut ``dims`` to size 1 and join the labels that lay along them."""
        first = collapse(labels, dims)
        if set(varying_dimensions(labels)) & set(dims):
            a, b = broadcast_small(labels, first)
            self.join(a.reshape(-1), b.reshape(-1), where)
        return first

    def vector(self, labels: Tensor, dim: int, where: str) -> Tensor:
        """Labels along one dimension; those that share an index are joined."""
        dim %= labels.dim()
        others = [d for d in range(labels.dim()) if d != dim]
        return self.merge(labels, others, where).reshape(-1)

    def meet(self, a: Tensor, b: Tensor, where: str) -> Tensor:
        """Labels of a pointwise result of two tensors, in their common shape."""
        shape = broadcast_shape(a, b)
        for narrow, other in ((a, b), (b, a)):
            wide = compress(other.expand(shape))
            if _stretched(narrow, shape) & set(varying_dimensions(wide)):
                # One channel that acts on many is tied to none of them.
                self.pin(narrow, f"{where} applies it to every channel")
                return wide
        x, y = broadcast_small(a, b)
        self.join(x.reshape(-1), y.reshape(-1), where)
        return compress(torch.where(x != KEPT, x, y).expand(shape))

    def slice(self, name: str, dim: int, labels: Tensor, where: str) -> None:
        """Say that index i along ``dim`` of a parameter or buffer belongs to ``labels[i]``."""
        self.join(self.slices.setdefault((name, dim), labels), labels, where)

    def equal(self, rows: Tensor) -> None:
        """Demand equal numbers of kept labels in every row of a matrix."""
        rows = torch.unique(rows, dim=0)
        if len(rows) > 1:
            self.equal_rows.append(rows)


def _stretched(labels: Tensor, shape: Sequence[int]) -> set[int]:
    """Dimensions along which broadcasting to ``shape`` repeats the tensor."""
    lead = len(shape) - labels.dim()
    return {d for d, n in enumerate(shape) if n > 1 and (d < lead or labels.shape[d - lead] == 1)}
