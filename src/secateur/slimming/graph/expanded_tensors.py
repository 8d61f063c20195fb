"""Labels and values in the full shape of the tensors they describe, stored small.

They have the full shape so that data movement can be executed on them literally. As a rule they
vary along one dimension; the others are expanded (stride 0), which costs no memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def compress(tensor: Tensor) -> Tensor:
    """The same tensor with stride 0 along every dimension in which nothing varies.

    Example:
        >>> compress(torch.ones(2, 3)).stride()
        (0, 0)
    """
    small = shrink(tensor)
    for dim, size in enumerate(small.shape):
        if size > 1:
            first = small.narrow(dim, 0, 1)
            # As a rule two elements tell: the first and the last label are never the same.
            corner = [0] * small.dim()
            a = small[tuple(corner)].item()
            corner[dim] = size - 1
            b = small[tuple(corner)].item()
            if a != b and not (math.isnan(a) and math.isnan(b)):
                continue
            same = (small == first) | (small.isnan() & first.isnan())
            if bool(same.all()):
                small = first
    return small.expand(tensor.shape)


def shrink(tensor: Tensor) -> Tensor:
    """The tensor with every stride-0 dimension cut to size 1.

    Example:
        >>> shrink(torch.zeros(2, 1).expand(2, 3)).shape
        torch.Size([2, 1])
    """
    for dim, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def varying_dimensions(tensor: Tensor) -> tuple[int, ...]:
    """Dimensions along which a compressed tensor is not constant."""
    return tuple(d for d, size in enumerate(shrink(tensor).shape) if size > 1)


def along_dimension(vector: Tensor, dim: int, shape: Iterable[int]) -> Tensor:
    """Expand a vector to ``shape``: it varies along ``dim`` and is constant along the others.

    Example:
        >>> along_dimension(torch.tensor([1, 2]), 1, (1, 2, 2)).tolist()
        [[[1, 1], [2, 2]]]
    """
    sizes = tuple(shape)
    view = [1] * len(sizes)
    view[dim] = -1
    return vector.view(view).expand(sizes)


def collapse(tensor: Tensor, dims: Iterable[int]) -> Tensor:
    """The first slice along each of the dimensions, which stay with size 1."""
    for dim in dims:
        tensor = tensor.narrow(dim, 0, 1)
    return tensor


def broadcast_shape(a: Tensor, b: Tensor) -> tuple[int, ...]:
    """Shape of a pointwise result of two tensors."""
    return _common_shape([a, b])


def _common_shape(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    shapes = {t.shape for t in tensors}
    if len(shapes) == 1:  # as a rule; PyTorch takes a tenth of a millisecond
        return tuple(shapes.pop())
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]


def broadcast_small(*tensors: Tensor) -> list[Tensor]:
    """The tensors broadcast to one shape, which is cut to size 1 where none of them varies."""
    shape = _common_shape(tensors)
    wide = [t.expand(shape) for t in tensors]
    for dim, size in enumerate(shape):
        if size > 1 and all(t.stride(dim) == 0 for t in wide):
            wide = [t.narrow(dim, 0, 1) for t in wide]
    return wide


def distinct(tensor: Tensor) -> Tensor:
    """Sorted distinct elements of a compressed tensor."""
    values: Tensor = torch.unique(shrink(tensor))
    return values
