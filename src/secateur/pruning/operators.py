"""What the operators of a trace do to channels: tables, and access to their arguments.

Every operator falls into one class. Data movement is executed literally on whatever a tensor
carries; the others have one rule per class. What stands in no table is unknown, and unknown
operators keep their channels whole.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

# Their result holds elements of their operands and nothing else, except padding.
MOVES = frozenset({
    "_reshape_alias", "_unsafe_view", "broadcast_to", "cat", "channel_shuffle", "chunk", "concat",
    "concatenate", "constant_pad_nd", "copy", "expand", "expand_as", "flatten", "flip", "hstack",
    "index", "index_select", "masked_select", "movedim", "moveaxis", "narrow",
    "native_channel_shuffle", "pad", "permute", "pixel_shuffle", "pixel_unshuffle",
    "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "repeat", "repeat_interleave",
    "replication_pad1d", "replication_pad2d", "replication_pad3d", "reshape", "roll", "select",
    "select_scatter", "slice", "slice_scatter", "split", "split_with_sizes", "squeeze", "stack",
    "swapaxes", "t", "tensor_split", "tile", "transpose", "unbind", "unflatten", "unsqueeze",
    "view", "view_as", "vstack",
})  # fmt: skip
# They lay the same elements out under new sizes, which the forward may have computed.
RESHAPES = frozenset({
    "_reshape_alias", "_unsafe_view", "flatten", "reshape", "unflatten", "view", "view_as",
})  # fmt: skip
# They cut equal parts, which still fit when every part loses equally many channels.
EQUAL_PARTS = frozenset({"chunk", "split", "tensor_split"})
# They name positions, which mean something else once a channel before them has gone.
POSITIONS = frozenset({
    "index", "index_select", "masked_select", "narrow", "roll", "select", "select_scatter",
    "slice", "slice_scatter", "split_with_sizes", "unbind",
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
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return ""
    return str(target._schema.name).removeprefix("aten::")


def bind(node: fx.Node) -> dict[str, Any]:
    """All arguments of the call by name, defaults included."""
    target = node.target
    assert isinstance(target, torch._ops.OpOverload)
    bound = {a.name: a.default_value for a in target._schema.arguments}
    bound |= {a.name: value for a, value in zip(target._schema.arguments, node.args, strict=False)}
    return bound | dict(node.kwargs)


def shapes_of(node: fx.Node) -> tuple[torch.Size, ...]:
    """Shapes of the node's results; a result that is no tensor counts as a scalar."""
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else [value]
    return tuple(v.shape if isinstance(v, Tensor) else torch.Size() for v in values)


def is_pointwise(node: fx.Node) -> bool:
    """Whether every result element depends on the operands' elements at its own place only."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    return torch.Tag.pointwise in node.target.tags or operator_name(node) in POINTWISE


def spatial_dimensions(node: fx.Node) -> int:
    """Number of last dimensions that a pooling or upsampling mixes; 0 for any other operator."""
    name = operator_name(node)
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
