"""Data movement, executed literally on whatever the elements of a tensor carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, fx

from secateur.pruning.labels import collapse, compress, varying_dimensions
from secateur.pruning.operators import bind, operator_name

PADS = frozenset({"constant_pad_nd", "pad"})
# They refuse tensors that are not laid out in memory as the new sizes need.
_VIEWS = frozenset({"_reshape_alias", "_unsafe_view", "view", "view_as"})
# Arguments that name positions instead of being moved.
_INDICES = frozenset({"index", "indices", "mask", "repeats", "tensor_indices_or_sections"})


def move(
    node: fx.Node,
    carried: Callable[[fx.Node], Tensor],
    known: Mapping[fx.Node, Tensor],
    fill: float | None = None,
) -> tuple[Tensor, ...] | None:
    """Do what a data-moving operator does to its operands' elements to what these carry.

    Args:
        node: Call of an operator in ``MOVES``.
        carried: Tensor of an operand's shape, one entry per element.
        known: Values of the nodes that do not depend on inputs; indices are taken from here.
        fill: What padding carries; the padding's own value if None.

    Returns:
        One compressed tensor per result; None if the movement depends on the inputs' values.
    """
    name = operator_name(node)
    arguments = bind(node)
    if name in PADS and fill is not None:
        source = carried(arguments["self"])
        dims = _padded(arguments["pad"], source.dim())
        if not dims & set(varying_dimensions(source)):
            # Zeros around a channel belong to the channel.
            return (collapse(source, dims).expand(node.meta["val"].shape),)
        arguments["value"] = fill
    for key, value in arguments.items():
        operands: list[fx.Node] = []
        fx.node.map_arg(value, operands.append)
        if key in _INDICES and not all(operand in known for operand in operands):
            return None
        lookup = known.__getitem__ if key in _INDICES else carried
        arguments[key] = fx.node.map_arg(value, lookup)
    target = torch.ops.aten.reshape.default if name in _VIEWS else node.target
    if name == "view_as":
        arguments = {"self": arguments["self"], "shape": arguments["other"].shape}
    elif name in _VIEWS:
        arguments = {"self": arguments["self"], "shape": arguments["size"]}
    assert callable(target)
    moved = target(**arguments)
    return tuple(compress(part) for part in ([moved] if isinstance(moved, Tensor) else moved))


def _padded(pad: list[int], rank: int) -> set[int]:
    """Dimensions that a padding, listed from the last one back, makes longer or shorter."""
    return {rank - 1 - i // 2 for i, amount in enumerate(pad) if amount}
