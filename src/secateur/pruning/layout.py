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

    def sums(self, weight: Tensor) -> Tensor:
        """Weight summed over the kernel, (written, read), in double precision."""
        return self._matrix(_flat(weight).sum(2))

    def nonzero(self, weight: Tensor) -> Tensor:
        """Whether a written channel depends on a read one, (written, read).

        Subnormal weights count as zero: what they add is below the precision of any sum.
        """
        return self._matrix(_flat(weight).abs().amax(2)) >= torch.finfo(weight.dtype).tiny

    def _matrix(self, matrix: Tensor) -> Tensor:
        blocks = matrix.view(self.groups, -1, matrix.shape[1])
        blocks = blocks.transpose(1, 2) if self.transposed else blocks
        dense: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
        return dense


def _flat(weight: Tensor) -> Tensor:
    return weight.detach().double().reshape(weight.shape[0], weight.shape[1], -1)


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
