"""Dependencies: which filters, channels and parameter slices can only be removed together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, fx

from secateur.slimming.channel_means import ChannelMean
from secateur.slimming.graph.expanded_tensors import (
    broadcast_shape,
    broadcast_small,
    collapse,
    compress,
    distinct,
    shrink,
    varying_dimensions,
)
from secateur.slimming.graph.operators import Layout, owner_of
from secateur.slimming.written_sizes import WrittenSize

KEPT = 0  # the label of everything that is never removed


@dataclass(frozen=True, slots=True)
class LabeledCall:
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
class SplitChannels:
    """A reshaped tensor whose channels lie along several dimensions, as a shuffle lays them.

    Args:
        position: Index of the reshaping call among the nodes of the graph.
        labels: Labels of the elements of its result; of a shuffle, (groups, channels per group).
    """

    position: int
    labels: Tensor


@dataclass(slots=True)
class ChannelDependencies:
    """All constraints between channel labels that the graph of a network implies.

    Args:
        calls: Calls of layers that mix channels; depthwise convolutions are not among them.
        slices: (parameter or buffer, dimension) -> label of each index; of a grouped transposed
            convolution, dimension 1 has the filters of all groups.
        grouped: Weight of a grouped convolution -> labels of the channels that lie along its
            second dimension, group by group: those it reads, or writes if it is transposed.
        groups: The same weight -> number of groups.
        depthwise: Weight of a depthwise convolution -> filters per channel.
        norms: Group norms and layer norms that have an entry per channel.
        group_norms: Group norm that loses whole groups -> labels of its channels, (channels,), and
            number of groups.
        elements: Parameter used as a plain tensor -> label of each of its elements.
        joins: Pairs of equally long label vectors; two labels at one position can only be removed
            together.
        pins: Labels that must stay, and the reason.
        mixed: Labels that an operator ties to each other, and the operator.
        equal_rows: Label matrices whose rows must all keep the same number of labels.
        sized: Labels of tensors that are reshaped or split to sizes that the forward may fix.
        written: Sizes that modules keep as integers, and that follow what is cut.
        splits: Reshaped tensors that can lose whole indices along one dimension only.
        means: Means over channels whose divisor a weight can make up for.
        sources: Call, as reasons name it -> line of the model's source that makes it.
        n_labels: Number of labels in use, ``KEPT`` included.
    """

    calls: list[LabeledCall] = field(default_factory=list)
    slices: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    grouped: dict[str, Tensor] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    depthwise: dict[str, int] = field(default_factory=dict)
    norms: set[str] = field(default_factory=set)
    group_norms: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    elements: dict[str, Tensor] = field(default_factory=dict)
    joins: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    pins: list[tuple[Tensor, str]] = field(default_factory=list)
    mixed: list[tuple[Tensor, str]] = field(default_factory=list)
    equal_rows: list[Tensor] = field(default_factory=list)
    sized: list[Tensor] = field(default_factory=list)
    written: list[WrittenSize] = field(default_factory=list)
    splits: list[SplitChannels] = field(default_factory=list)
    means: list[ChannelMean] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    n_labels: int = 1

    def fresh(self, count: int) -> Tensor:
        """Make new labels, (count,)."""
        self.n_labels += count
        return torch.arange(self.n_labels - count, self.n_labels)

    def join(self, a: Tensor, b: Tensor, where: str) -> None:
        """Record that labels can only be removed in pairs; one paired with ``KEPT`` must stay."""
        different = a != b
        a, b = a[different], b[different]
        if a.numel():
            self.joins.append((a, b))
            self.pin(torch.cat([a[b == KEPT], b[a == KEPT]]), f"{where} adds a fixed tensor to it")

    def pin(self, labels: Tensor, reason: str) -> None:
        """Record that labels must stay, and why."""
        labels = distinct(labels)
        labels = labels[labels != KEPT]
        if labels.numel():
            self.pins.append((labels, reason))

    def merge(self, labels: Tensor, dims: Collection[int], where: str) -> Tensor:
        """Join the labels that lie along ``dims``, and cut these dimensions to size 1."""
        first = collapse(labels, dims)
        if set(varying_dimensions(labels)) & set(dims):
            a, b = broadcast_small(labels, first)
            self.join(a.reshape(-1), b.reshape(-1), where)
            self.mixed.append((distinct(labels), where))
        return first

    def vector(self, labels: Tensor, dim: int, where: str) -> Tensor:
        """Join labels that share an index along ``dim``; returns one label per index."""
        dim %= labels.dim()
        others = [d for d in range(labels.dim()) if d != dim]
        return self.merge(labels, others, where).reshape(-1)

    def meet(self, a: Tensor, b: Tensor, where: str) -> Tensor:
        """Join the labels of two pointwise operands; returns the labels of the result."""
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
        """Record that index i along ``dim`` of a parameter or buffer belongs to ``labels[i]``."""
        self.join(self.slices.setdefault((name, dim), labels), labels, where)

    def equal(self, rows: Tensor) -> None:
        """Record that every row of a matrix must keep the same number of labels."""
        rows = torch.unique(rows, dim=0)
        if len(rows) > 1:
            self.equal_rows.append(rows)


def _stretched(labels: Tensor, shape: Sequence[int]) -> set[int]:
    """Dimensions along which broadcasting to ``shape`` repeats the tensor."""
    lead = len(shape) - labels.dim()
    return {d for d, n in enumerate(shape) if n > 1 and (d < lead or labels.shape[d - lead] == 1)}


@dataclass(frozen=True, slots=True)
class ChannelClasses:
    """Equivalence classes of labels: the channels of one class can only be removed together.

    Args:
        of: Class of each label, (labels,); class 0 holds only what is never removed.
        count: Number of classes.
        pinned: Class that must stay -> the reason.
        slices: (parameter or buffer, dimension) -> class of each index.
    """

    of: Tensor
    count: int
    pinned: dict[int, str]
    slices: dict[tuple[str, int], Tensor]

    @property
    def removable(self) -> Tensor:
        """Which classes the forward can run without, (classes,) bool."""
        free = torch.ones(self.count, dtype=torch.bool)
        free[[KEPT, *self.pinned]] = False
        return free


def find_classes(dependencies: ChannelDependencies) -> ChannelClasses:
    """Group labels into classes: the connected components of all joins.

    Args:
        dependencies: Dependencies between labels. Joins that reshaped tensors add are appended.
    """
    of = _components(dependencies)
    pending = [_rows(split.labels) for split in dependencies.splits]
    while (joined := _join_columns(dependencies, of, pending)) is not None:
        pending.pop(joined)
        of = _components(dependencies)
    count = int(of.max()) + 1
    pinned: dict[int, str] = {}
    for labels, reason in dependencies.pins:
        for index in torch.unique(of[labels]).tolist():
            pinned.setdefault(index, reason)
    # Labels that no filter writes belong to parameters of the forward itself.
    written = torch.zeros(count, dtype=torch.bool)
    for call in dependencies.calls:
        written[of[call.outputs]] = True
    for (name, dim), labels in dependencies.slices.items():
        if dim == 0 and name.endswith("weight") and owner_of(name) not in dependencies.norms:
            written[of[labels]] = True
    for index in (~written).nonzero()[:, 0].tolist():
        pinned.setdefault(index, "no layer writes it")
    slices = {key: of[labels] for key, labels in dependencies.slices.items()}
    _slice_elements(dependencies, of, pinned, slices)
    return ChannelClasses(of, count, pinned, slices)


def _components(dependencies: ChannelDependencies) -> Tensor:
    """Component of each label; that of ``KEPT`` is 0."""
    free = [(a != KEPT) & (b != KEPT) for a, b in dependencies.joins]
    return connected(
        [(a[f], b[f]) for (a, b), f in zip(dependencies.joins, free, strict=True)],
        dependencies.n_labels,
    )


def connected(ties: Sequence[tuple[Tensor, Tensor]], size: int) -> Tensor:
    """Number of the connected component of each of ``size`` items, (size,).

    Args:
        ties: Pairs of equally long vectors of item numbers; two items at one position are tied.
        size: Number of items.

    Example:
        >>> connected([(torch.tensor([0, 1]), torch.tensor([3, 2]))], 5)
        tensor([0, 1, 1, 0, 2])
    """
    pairs = [torch.stack(tie) for tie in ties]
    edges = torch.cat(pairs, 1).numpy() if pairs else np.zeros((2, 0), dtype=np.int64)
    graph = coo_array((np.ones(edges.shape[1], dtype=np.int8), tuple(edges)), shape=(size, size))
    _, components = connected_components(graph, directed=False)
    return torch.from_numpy(components.astype(np.int64))


def _rows(labels: Tensor) -> Tensor:
    """Labels of a tensor as a matrix whose columns lie along the last dimension that varies."""
    rows = shrink(labels).movedim(varying_dimensions(labels)[-1], -1)
    return rows.reshape(-1, rows.shape[-1])


def _join_columns(
    dependencies: ChannelDependencies, of: Tensor, splits: Sequence[Tensor]
) -> int | None:
    """Join the columns of the first matrix whose rows are not classes; returns its position."""
    for position, rows in enumerate(splits):
        classes = of[rows]
        if bool((classes != classes[:, :1]).any()) and bool((classes != classes[:1]).any()):
            first = rows[:1].expand_as(rows).reshape(-1)
            dependencies.join(first, rows.reshape(-1), "a layout of channels")
            return position
    return None


def _slice_elements(
    dependencies: ChannelDependencies,
    of: Tensor,
    pinned: dict[int, str],
    slices: dict[tuple[str, int], Tensor],
) -> None:
    """Turn the labels of plain parameters into slices, and pin what no slice can express."""
    before = -1
    while before != len(pinned):
        before = len(pinned)
        for name, labels in dependencies.elements.items():
            classes = of[labels]
            fixed = torch.tensor(sorted({KEPT, *pinned}))
            free = compress(torch.where(torch.isin(classes, fixed), KEPT, classes))
            varying = varying_dimensions(free)
            if len(varying) == 1:
                slices[name, varying[0]] = shrink(free).reshape(-1)
            elif bool((free != KEPT).any()):
                for index in torch.unique(free[free != KEPT]).tolist():
                    pinned.setdefault(index, f"{name} cannot be cut along one dimension")
