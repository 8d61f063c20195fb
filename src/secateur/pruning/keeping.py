"""Which dead classes have to stay after all, so that the slim network still has a shape."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from secateur.pruning.classes import Classes
from secateur.pruning.flow import Flow


def settle(
    live: Tensor,
    flow: Flow,
    classes: Classes,
    tensors: Mapping[str, Tensor],
    align: int = 1,
    cost: Tensor | None = None,
) -> Tensor:
    """Give dead classes back until every layer keeps a channel and every equal split is equal.

    Args:
        live: Classes that stay in any case, (classes,) bool.
        flow: What following the labels has found.
        classes: The labels' classes.
        tensors: Parameters and buffers of the network by name.
        align: Numbers of filters become multiples of this, or stay whole.
        cost: What giving a class back costs, (classes,): the cheapest go first. By default the
            number of its parameters.

    Returns:
        Classes to keep, (classes,) bool.
    """
    kept = live.clone()
    if cost is None:
        cost = _parameters(classes, tensors)
    rows = [
        (members[None], align if dim == 0 else 1) for (_, dim), members in classes.slices.items()
    ]
    rows += [(classes.of[matrix], 1) for matrix in flow.equal_rows]
    grouped = [
        (
            classes.of[inputs].view(flow.groups[weight], -1),
            classes.slices[weight, 0].view(flow.groups[weight], -1),
        )
        for weight, inputs in flow.grouped.items()
    ]
    changed = True
    while changed:
        changed = False
        for matrix, multiple in rows:
            changed |= _balance(matrix, kept, cost, multiple)
        for inputs, outputs in grouped:
            # A group goes whole or keeps as many channels and filters as the others.
            alive = kept[inputs].any(1) | kept[outputs].any(1)
            if not bool(alive.any()):
                alive[(cost[inputs].sum(1) + cost[outputs].sum(1)).argmin()] = True
            changed |= _balance(inputs[alive], kept, cost, 1)
            changed |= _balance(outputs[alive], kept, cost, 1)
    return kept


def _parameters(classes: Classes, tensors: Mapping[str, Tensor]) -> Tensor:
    """Parameters that go with each class, counted alone, (classes,)."""
    count = torch.zeros(classes.count)
    for (name, _), members in classes.slices.items():
        each = tensors[name].numel() / len(members)
        count.index_add_(0, members, torch.full((len(members),), each))
    return count


def _balance(rows: Tensor, kept: Tensor, cost: Tensor, multiple: int) -> bool:
    """Give back the cheapest classes until every row keeps equally many, at least one."""
    target = max(1, int(kept[rows].sum(1).max()))
    target = min(-(-target // multiple) * multiple, rows.shape[1])
    changed = False
    for row in rows:
        while int(kept[row].sum()) < target:
            dead = row[~kept[row]]
            kept[dead[cost[dead].argmin()]] = True
            changed = True
    return changed
