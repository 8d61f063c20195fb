"""What the operators of a graph do to channels: tables, data movement, and layouts of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx

from secateur.slimming.graph.expanded_tensors import collapse, compress, varying_dimensions

# Their result holds elements of their operands and nothing else, except padding.
MOVES = frozenset({
    "_reshape_alias", "_unsafe_view", "broadcast_to", "cat", "channel_shuffle", "chunk", "concat",
    "concatenate", "constant_pad_nd", "copy", "expand", "expand_as", "flatten", "flip", "hstack",
    "index", "index_select", "masked_select", "movedim", "moveaxis", "narrow",
    "native_channel_shuffle", "pad", "permute", "pixel_shuffle", "pixel_unshuffle",
    "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "repeat", "repeat_interleave",
    "replication_pad1d", "replication_pad2d", "replication_pad3d", "reshape", "reshape_as",
    "roll", "select",
    "select_scatter", "slice", "slice_scatter", "split", "split_with_sizes", "squeeze", "stack",
    "swapaxes", "t", "tensor_split", "tile", "transpose", "unbind", "unflatten", "unsqueeze",
    "view", "view_as", "vstack",
})  # fmt: skip

# They lay the same elements out under new sizes, which the forward may have computed.
RESHAPES = frozenset({
    "_reshape_alias", "_unsafe_view", "flatten", "reshape", "reshape_as", "unflatten", "view",
    "view_as",
})  # fmt: skip

# They cut equal parts, which still fit when every part loses equally many channels.
EQUAL_PARTS = frozenset({"chunk", "split", "tensor_split", "unbind"})

# They name positions, which mean something else once a channel before them is removed.
POSITIONS = frozenset({
    "index", "index_select", "masked_select", "narrow", "roll", "select", "select_scatter",
    "slice", "slice_scatter", "split_with_sizes",
})  # fmt: skip

# They deal channels out to groups, row by row.
SHUFFLES = frozenset({"channel_shuffle", "native_channel_shuffle"})

# The result is the operand, up to its storage.
IDENTITIES = frozenset({
    "_to_copy", "alias", "clone", "contiguous", "detach", "dropout", "feature_dropout",
    "lift_fresh_copy", "native_dropout", "to",
})  # fmt: skip

# Pointwise, though they do not say so.
POINTWISE = frozenset({"hardswish", "log_sigmoid", "masked_fill", "rsub", "where"})

# They work on the last one, two or three dimensions, whichever their name says.
POOLS = frozenset({"adaptive_avg_pool", "adaptive_max_pool", "avg_pool", "max_pool"})

UPSAMPLINGS = frozenset({
    "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "upsample_bicubic2d",
    "upsample_bilinear2d", "upsample_linear1d", "upsample_nearest1d", "upsample_nearest2d",
    "upsample_nearest3d", "upsample_trilinear3d", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
})  # fmt: skip

# They mix what lies along the dimensions they name, and nothing else.
REDUCTIONS = frozenset({
    "_log_softmax", "_softmax", "amax", "amin", "argmax", "argmin", "cumsum", "log_softmax",
    "linalg_vector_norm", "logsumexp", "max", "mean", "min", "norm", "prod", "softmax", "sum",
    "std", "topk", "var",
})  # fmt: skip

# Of these, the ones that turn equal elements into that same element.
AVERAGES = frozenset({"amax", "amin", "max", "mean", "min"})


def operator_name(node: fx.Node) -> str:
    """Name of the called ATen operator without its overload; empty if it is none."""
    return _name_of(node.target)


@cache
def _name_of(target: object) -> str:
    if not isinstance(target, torch._ops.OpOverload):
        return ""
    return str(target._schema.name).removeprefix("aten::")


@cache
def _parameters_of(target: object) -> dict[str, Any]:
    """Names of an operator's arguments in their order, with their defaults."""
    assert isinstance(target, torch._ops.OpOverload)
    return {argument.name: argument.default_value for argument in target._schema.arguments}


def bind(node: fx.Node) -> dict[str, Any]:
    """All arguments of the call by name, defaults included."""
    defaults = _parameters_of(node.target)
    return {**defaults, **dict(zip(defaults, node.args, strict=False)), **node.kwargs}


def shapes_of(node: fx.Node) -> tuple[torch.Size, ...]:
    """Shapes of the node's results; a result that is no tensor counts as a scalar."""
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else [value]
    return tuple(v.shape if isinstance(v, Tensor) else torch.Size() for v in values)


def is_pointwise(node: fx.Node) -> bool:
    """Whether every result element depends on the operands' elements at its own place only."""
    return _is_pointwise(node.target)


@cache
def _is_pointwise(target: object) -> bool:
    if not isinstance(target, torch._ops.OpOverload):
        return False
    return torch.Tag.pointwise in target.tags or _name_of(target) in POINTWISE


def spatial_dimensions(node: fx.Node) -> int:
    """Number of last dimensions that a pooling or upsampling mixes; 0 for any other operator."""
    return _spatial_dimensions(operator_name(node))


@cache
def _spatial_dimensions(name: str) -> int:
    stem, _, _ = name.partition("_with_indices")
    if name not in UPSAMPLINGS and stem[:-2] not in POOLS:
        return 0
    return int(next(c for c in name if c.isdigit()))


def reduced_dimensions(node: fx.Node, rank: int) -> tuple[int, ...]:
    """Dimensions that a reduction mixes, as non-negative numbers."""
    dims = bind(node).get("dim")
    if dims is None or dims == []:
        return tuple(range(rank))
    return tuple(d % max(rank, 1) for d in ([dims] if isinstance(dims, int) else dims))


def owner_of(tensor_name: str) -> str:
    """Name of the module that a parameter or buffer belongs to."""
    return tensor_name.rpartition(".")[0]


PADS = frozenset({"constant_pad_nd", "pad"})

# They refuse tensors that are not laid out in memory as the new sizes need.
_VIEWS = frozenset({"_reshape_alias", "_unsafe_view", "reshape_as", "view", "view_as"})

# Arguments that name positions instead of being moved.
_INDICES = frozenset({"index", "indices", "mask", "repeats", "tensor_indices_or_sections"})


def move_elements(
    node: fx.Node,
    carried: Callable[[fx.Node], Tensor],
    known: Mapping[fx.Node, Tensor],
    fill: float | None = None,
) -> tuple[Tensor, ...] | None:
    """Apply a data-moving operator to labels or values in place of its operands.

    Args:
        node: Call of an operator in ``MOVES``.
        carried: Operand -> tensor of its shape with one label or value per element.
        known: Values of the nodes that do not depend on inputs; indices are taken from here.
        fill: Label or value of padding; the padding's own value if None.

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
    if name in ("reshape_as", "view_as"):
        arguments = {"self": arguments["self"], "shape": arguments["other"].shape}
    elif name in _VIEWS:
        arguments = {"self": arguments["self"], "shape": arguments["size"]}
    assert callable(target)
    moved = target(**arguments)
    return tuple(compress(part) for part in ([moved] if isinstance(moved, Tensor) else moved))


def _padded(pad: list[int], rank: int) -> set[int]:
    """Dimensions that a padding, listed from the last one back, makes longer or shorter."""
    return {rank - 1 - i // 2 for i, amount in enumerate(pad) if amount}


@dataclass(frozen=True, slots=True)
class Layout:
    """Geometry of one call of a convolution or linear layer.

    Args:
        dim: Dimension of the channels in what it reads and writes, negative.
        groups: Groups of the convolution; 1 for a linear layer.
        transposed: Whether the weight has the channels it reads first.
        border: Whether a constant non-zero channel has an effect that is not constant, because
            zeros around the border or the pattern of a transposed convolution take part.
    """

    dim: int
    groups: int = 1
    transposed: bool = False
    border: bool = False

    def effect(self, weight: Tensor, channels: Tensor) -> Tensor:
        """What constant channels add to each filter, (filters,), in double precision."""
        if not bool(channels.any()):
            return torch.zeros(self._shape(weight)[0], dtype=torch.float64)
        if self.groups > 1:
            return self._matrix(_flat(weight).double().sum(2)) @ channels
        # Most channels are not constant: do not read their part of a large weight.
        places = channels.nonzero()[:, 0]
        part = _flat(weight).index_select(0 if self.transposed else 1, places).double().sum(2)
        return (part.T if self.transposed else part) @ channels[places]

    def nonzero(self, weight: Tensor) -> Tensor:
        """Whether a filter depends on a channel, (filters, channels).

        Subnormal weights count as zero: what they add is below the precision of any sum.
        """
        if not any(weight.stride()):  # one value everywhere, such as that of a masked layer
            least = bool(weight.detach().flatten()[:1].abs() >= torch.finfo(weight.dtype).tiny)
            return self._matrix(torch.full(weight.shape[:2], least))
        size = _flat(weight).abs()
        if size.shape[2] > 1:  # sums take half the time of maxima
            size = size.flatten(0, 1).mv(size.new_ones(size.shape[2])).view(size.shape[:2])
        return self._matrix(size.view(weight.shape[:2]) >= torch.finfo(weight.dtype).tiny)

    def _shape(self, weight: Tensor) -> tuple[int, int]:
        rows, columns = weight.shape[:2]
        return (columns * self.groups, rows) if self.transposed else (rows, columns * self.groups)

    def _matrix(self, matrix: Tensor) -> Tensor:
        """(filters, channels) out of a matrix in the weight's layout; zero between groups."""
        if self.groups == 1:
            return matrix.T if self.transposed else matrix
        blocks = matrix.view(self.groups, -1, matrix.shape[1])
        blocks = blocks.transpose(1, 2) if self.transposed else blocks
        _, rows, columns = blocks.shape
        dense = matrix.new_zeros(self.groups, rows, self.groups, columns)
        groups = torch.arange(self.groups)
        dense[groups, :, groups] = blocks
        return dense.reshape(self.groups * rows, -1)


def _flat(weight: Tensor) -> Tensor:
    return weight.detach().reshape(weight.shape[0], weight.shape[1], -1)


def layout_of(node: fx.Node) -> Layout:
    """Layout of a call of a convolution or linear layer."""
    a = bind(node)
    if operator_name(node) == "linear":
        return Layout(dim=-1)
    kernel = a["weight"].meta["val"].shape[2:]
    transposed = "transpose" in operator_name(node) or bool(a.get("transposed"))
    if isinstance(a["padding"], str):
        border = a["padding"] == "same" and any(size > 1 for size in kernel)
    else:
        border = any(amount > 0 for amount in a["padding"])
    return Layout(-1 - len(kernel), int(a["groups"]), transposed, border or transposed)
