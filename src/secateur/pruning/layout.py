"""How a layer's weight is laid out, and which of its channels read which."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx

from secateur.pruning.operators import bind, operator_name


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
        # Most channels are none: leave their part of a large weight alone.
        places = channels.nonzero()[:, 0]
        part = _flat(weight).index_select(0 if self.transposed else 1, places).double().sum(2)
        return (part.T if self.transposed else part) @ channels[places]

    def nonzero(self, weight: Tensor) -> Tensor:
        """Whether a filter depends on a channel, (filters, channels).

        Subnormal weights count as zero: what they add is below the precision of any sum.
        """
        flat = _flat(weight)
        size = flat[:, :, 0].abs() if flat.shape[2] == 1 else flat.abs().amax(2)
        return self._matrix(size >= torch.finfo(weight.dtype).tiny)

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
