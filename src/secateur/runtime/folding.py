"""Folding: train through frozen batch norms at the cost of none, with the same gradients.

A batch norm in evaluation mode multiplies and adds per channel. Computed behind the convolution it
reads and writes the whole feature map, forward and backward; folded into the filters, which are
small, it costs next to nothing, and autograd carries the gradients of weight, scale and shift
through the folding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


class FoldedBatchNorms:
    """Pairs of a convolution and the batch norm right behind it, which run as one while folded.

    Pairs are neighbors in a ``Sequential``; modules that stand in several pairs stay as they are.

    Args:
        network: Network; nothing of it is changed outside of ``folded``.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
        >>> len(FoldedBatchNorms(network).pairs)
        1
    """

    def __init__(self, network: nn.Module) -> None:
        found = [
            (first, second)
            for chain in network.modules()
            if isinstance(chain, nn.Sequential)
            for first, second in zip(chain, list(chain)[1:], strict=False)
            if _can_be_folded(first, second)
        ]
        uses = Counter(id(module) for pair in found for module in pair)
        self.pairs: list[tuple[Any, Any]] = [
            pair for pair in found if all(uses[id(module)] == 1 for module in pair)
        ]

    @contextmanager
    def folded(self) -> Iterator[None]:
        """Run batch norms that are in evaluation mode inside the convolutions before them."""
        pairs = [pair for pair in self.pairs if not pair[1].training]
        for convolution, norm in pairs:
            convolution.forward = partial(_convolve, convolution, norm)
            norm.forward = _pass
        try:
            yield
        finally:
            for pair in pairs:
                for module in pair:
                    del module.forward


def _can_be_folded(first: nn.Module, second: nn.Module) -> bool:
    """Whether these are an ordinary convolution and batch norm, of these very classes."""
    return (
        type(first) is nn.Conv2d
        and first.padding_mode == "zeros"
        and type(second) is nn.BatchNorm2d
        and second.affine
        and second.track_running_stats
        and not any(m._forward_hooks or m._forward_pre_hooks for m in (first, second))
    )


def _convolve(convolution: nn.Conv2d, norm: nn.BatchNorm2d, features: Tensor) -> Tensor:
    """Convolution and batch norm: y = (w s) x + (b - m) s + t with s = scale / deviation."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shift = norm.bias - norm.running_mean * factor
    if convolution.bias is not None:
        shift = shift + convolution.bias * factor
    weight = convolution.weight * factor[:, None, None, None]
    return functional.conv2d(
        features,
        weight,
        shift,
        convolution.stride,
        convolution.padding,
        convolution.dilation,
        convolution.groups,
    )


def _pass(features: Tensor) -> Tensor:
    return features
