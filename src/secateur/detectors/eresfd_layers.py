"""Building blocks of EResFD: residual block, separated feature pyramid, context module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Topology = Literal["standard", "bfpgm"]
EPSILON = 1e-4


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, relu: bool
) -> nn.Sequential:
    """Convolution without bias that rounds sizes up, batch norm and, if asked for, ReLU."""
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False
    )
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(out_channels)]
    if relu:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, with no activation after the sum.

    Args:
        channels: Channels of input and output.
        stride: 1 or 2; with 2 the shortcut is a strided 1x1 convolution.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.res_layer = nn.Sequential(
            *conv_bn(channels, channels, 3, stride, relu=True),
            *conv_bn(channels, channels, 3, relu=False),
        )
        self.shortcut_layer: nn.Module | None = None
        if stride != 1:
            self.shortcut_layer = conv_bn(channels, channels, 1, stride, relu=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, ceil(H / stride), ceil(W / stride))."""
        shortcut = features if self.shortcut_layer is None else self.shortcut_layer(features)
        result: Tensor = self.res_layer(features) + shortcut
        return result


class ConvUnit(nn.Module):
    """Convolution, batch norm and ReLU under the state-dict name ``conv``."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = conv_bn(channels, channels, kernel, relu=True)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        result: Tensor = self.conv(features)
        return result


class SepFPN(nn.Module):
    """Separated feature pyramid of EResFD: two top-down chains and learnt fusion weights.

    The chain of the coarse levels ends at level 3, which takes the raw source of level 4; the
    chain of the fine levels starts there (the separation that gives SepFPN its name).

    Args:
        channels: Channels of every level.
        topology: ``standard``: six sources, six levels. ``bfpgm``: the stride-128 source is lost,
            level 4 is fused with itself and level 5 is the lateral of level 4, as in the
            published B-FPGM checkpoints.
    """

    def __init__(self, channels: int, topology: Topology) -> None:
        super().__init__()
        self.topology = topology
        self.laterals = nn.ModuleList(ConvUnit(channels, 1) for _ in range(5))
        self.itm = nn.ModuleList(ConvUnit(channels, 3) for _ in range(4))
        self.w1 = nn.Parameter(torch.full((2, 9), 0.5))

    def forward(self, sources: Sequence[Tensor]) -> list[Tensor]:
        """Fuse the sources.

        Args:
            sources: (B, C, H_k, W_k) of strides 4 to 128; to 64 in the bfpgm topology.

        Returns:
            Six maps of the same channels; the sixth has stride 64 in the bfpgm topology.
        """
        # Normalised over the pair here and once more in every sum, as published.
        weights = functional.relu(self.w1)
        weights = weights / (weights.sum(dim=0) + EPSILON)
        weights = weights / (weights.sum(dim=0) + EPSILON)

        def fuse(fine: Tensor, coarse: Tensor, column: int) -> Tensor:
            return weights[0, column] * fine + weights[1, column] * coarse

        lateral = [layer(source) for layer, source in zip(self.laterals, sources, strict=False)]
        if self.topology == "standard":
            last = sources[5]
            above = fuse(lateral[4], _resize(last, lateral[4]), 4)
        else:
            last = lateral[4]
            above = fuse(last, last, 4)
        tops = [above]
        coarse = sources[4]
        for level in (3, 2, 1, 0):
            coarse = fuse(lateral[level], _resize(coarse, lateral[level]), level)
            tops.insert(0, coarse)
        merged = [
            fuse(layer(top), source, column)
            for layer, top, source, column in zip(
                self.itm, tops[1:], sources[1:5], range(5, 9), strict=True
            )
        ]
        return [tops[0], *merged, last]


class ContextModule(nn.Module):
    """Three stacked branches of growing receptive field, concatenated.

    Args:
        channels: Channels of input and output; a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.res_branch1 = conv_bn(channels, half, 3, relu=True)
        self.res_branch2 = nn.Sequential(
            *conv_bn(half, quarter, 3, relu=True), *conv_bn(quarter, quarter, 3, relu=True)
        )
        self.res_branch3 = nn.Sequential(
            *conv_bn(quarter, quarter, 3, relu=True), *conv_bn(quarter, quarter, 3, relu=True)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape, all values at least 0."""
        near = self.res_branch1(features)
        middle = self.res_branch2(near)
        far = self.res_branch3(middle)
        return torch.cat([near, middle, far], dim=1)


def _resize(features: Tensor, like: Tensor) -> Tensor:
    """Nearest-neighbour resize to the height and width of ``like``."""
    return functional.interpolate(features, size=like.shape[-2:], mode="nearest")
