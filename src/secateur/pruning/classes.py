"""Sets of labels that can only be removed together, and whether they can be removed at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from secateur.pruning.flow import KEPT, Flow
from secateur.pruning.labels import compress, shrink, varying_dimensions


@dataclass(frozen=True, slots=True)
class Classes:
    """Labels grouped by what the network ties together.

    Args:
        of: Class of each label, (labels,); class 0 holds only what is never removed.
        count: Number of classes.
        pinned: Class -> why it has to stay.
        slices: (parameter or buffer, dimension) -> class of each index.
    """

    of: Tensor
    count: int
    pinned: dict[int, str]
    slices: dict[tuple[str, int], Tensor]

    @property
    def removable(self) -> Tensor:
        """Whether nothing in the forward's shape speaks against removal, (classes,)."""
        free = torch.ones(self.count, dtype=torch.bool)
        free[[KEPT, *self.pinned]] = False
        return free


def group(flow: Flow) -> Classes:
    """Classes of joined labels: connected components, with the pins of their members."""
    of = _components(flow)
    pending = [_rows(spread.labels) for spread in flow.spreads]
    while (joined := _join_columns(flow, of, pending)) is not None:
        pending.pop(joined)
        of = _components(flow)
    count = int(of.max()) + 1
    pinned: dict[int, str] = {}
    for labels, reason in flow.pins:
        for index in torch.unique(of[labels]).tolist():
            pinned.setdefault(index, reason)
    # Labels that no filter writes belong to parameters of the forward itself.
    written = torch.zeros(count, dtype=torch.bool)
    for read in flow.reads:
        written[of[read.outputs]] = True
    for (name, dim), labels in flow.slices.items():
        if dim == 0 and name.endswith("weight"):
            written[of[labels]] = True
    for index in (~written).nonzero()[:, 0].tolist():
        pinned.setdefault(index, "no layer writes it")
    slices = {key: of[labels] for key, labels in flow.slices.items()}
    _slice_elements(flow, of, pinned, slices)
    return Classes(of, count, pinned, slices)


def _components(flow: Flow) -> Tensor:
    """Component of each label; that of ``KEPT`` is 0."""
    free = [(a != KEPT) & (b != KEPT) for a, b in flow.joins]
    return connected(
        [(a[f], b[f]) for (a, b), f in zip(flow.joins, free, strict=True)], flow.n_labels
    )


def connected(ties: Sequence[tuple[Tensor, Tensor]], size: int) -> Tensor:
    """Number of the connected component of each of ``size`` things, (size,).

    Args:
        ties: Pairs of equally long vectors of numbers of things that are tied.
        size: Number of things.
    """
    pairs = [torch.stack(tie) for tie in ties]
    edges = torch.cat(pairs, 1).numpy() if pairs else np.zeros((2, 0), dtype=np.int64)
    graph = coo_array((np.ones(edges.shape[1], dtype=np.int8), tuple(edges)), shape=(size, size))
    _, components = connected_components(graph, directed=False)
    return torch.from_numpy(components.astype(np.int64))


def _rows(labels: Tensor) -> Tensor:
    """A spread as a matrix whose columns lie along the last dimension that varies."""
    rows = shrink(labels).movedim(varying_dimensions(labels)[-1], -1)
    return rows.reshape(-1, rows.shape[-1])


def _join_columns(flow: Flow, of: Tensor, spreads: Sequence[Tensor]) -> int | None:
    """Join equal columns of the first spread whose rows cannot go as a whole; its position."""
    for position, rows in enumerate(spreads):
        classes = of[rows]
        if bool((classes != classes[:, :1]).any()) and bool((classes != classes[:1]).any()):
            first = rows[:1].expand_as(rows).reshape(-1)
            flow.join(first, rows.reshape(-1), "a layout of channels")
            return position
    return None


def _slice_elements(
    flow: Flow, of: Tensor, pinned: dict[int, str], slices: dict[tuple[str, int], Tensor]
) -> None:
    """Turn the labels of plain parameters into slices, and pin what no slice can express."""
    before = -1
    while before != len(pinned):
        before = len(pinned)
        for name, labels in flow.elements.items():
            classes = of[labels]
            fixed = torch.tensor(sorted({KEPT, *pinned}))
            free = compress(torch.where(torch.isin(classes, fixed), KEPT, classes))
            varying = varying_dimensions(free)
            if len(varying) == 1:
                slices[name, varying[0]] = shrink(free).reshape(-1)
            elif bool((free != KEPT).any()):
                for index in torch.unique(free[free != KEPT]).tolist():
                    pinned.setdefault(index, f"{name} cannot be cut along one dimension")
