"""EXTD: a face detector that runs the same few blocks six times (Yoo et al., 2019)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from secateur.detectors.anchors import STRIDES, AnchorCache
from secateur.detectors.prediction_heads import AnchorDetector, apply_heads

STEM_CHANNELS = 64
LEVELS = len(STRIDES)

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    # the six groups of the B-FPGM scripts; base.6 and base.7 exist in EXTD-32 only
    "script": {
        "g1": ("base.0.*", "base.1.*"),
        "g2": ("base.2.*", "base.3.*"),
        "g3": ("base.4.*",),
        "g4": ("base.[567].*",),
        "g5": ("upfeat.*",),
        "g6": ("loc.*", "conf.*"),
    },
}
HEADS: tuple[str, ...] = ("loc.*", "conf.*")

# Per width: expansion of every shared block. The last one halves the resolution.
_EXPANSIONS = {64: (2, 2, 4, 4), 48: (2, 2, 4, 4), 32: (2, 2, 4, 4, 2, 2)}


class EXTD(AnchorDetector):
    """EXTD with 64, 48 or 32 channels: 162,352, 100,160 or 62,939 parameters.

    Args:
        width: Channels of the shared blocks and of every level.

    Raises:
        ValueError: If there is no variant of that width.
    """

    def __init__(self, width: Literal[64, 48, 32] = 64) -> None:
        super().__init__(AnchorCache())
        if width not in _EXPANSIONS:
            raise ValueError(f"width must be 64, 48 or 32, got {width!r}")
        self.width = width
        activate = width == 32  # this variant alone ends its blocks with a PReLU
        stem = nn.Sequential(
            nn.Conv2d(3, STEM_CHANNELS, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(STEM_CHANNELS),
            nn.PReLU(),
        )
        first = InvertedResidual(STEM_CHANNELS, width, expansion=1, activate=activate)
        expansions = _EXPANSIONS[width]
        shared = [
            InvertedResidual(
                width,
                width,
                expansion=expansion,
                stride=2 if position == len(expansions) else 1,
                activate=activate,
            )
            for position, expansion in enumerate(expansions, start=1)
        ]
        self.base = nn.ModuleList([stem, first, *shared])
        self.upfeat = nn.ModuleList(_separable(width) for _ in range(LEVELS - 1))
        self.loc = nn.ModuleList(nn.Conv2d(width, 4, 3, padding=1) for _ in range(LEVELS))
        self.conf = nn.ModuleList(
            nn.Conv2d(width, 4 if level == 0 else 2, 3, padding=1) for level in range(LEVELS)
        )
        self.initialize()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Detect; the same in training and evaluation.

        Args:
            images: (B, 3, H, W), RGB minus the mean, of any size.

        Returns:
            Locations (B, N, 4) and logits (B, N, 2), in the order of ``anchors``.
        """
        stem, first, *shared = self.base
        features = first(stem(images))
        sources: list[Tensor] = []
        for _ in range(LEVELS):
            for block in shared:
                features = block(features)
            sources.append(features)
        levels = [sources[-1]]
        for layer, source in zip(self.upfeat, reversed(sources[:-1]), strict=True):
            upsampled = functional.interpolate(
                levels[0], size=source.shape[-2:], mode="bilinear", align_corners=False
            )
            levels.insert(0, layer(upsampled) + source)
        return apply_heads(levels, self.loc, self.conf)

    @torch.no_grad()
    def initialize(self) -> None:
        """Draw new weights as published: Xavier uniform, except in the upsampling layers."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                if name.startswith("upfeat."):
                    module.reset_parameters()
                    continue
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.PReLU):
                nn.init.constant_(module.weight, 0.25)


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter by depthwise 3x3, narrow by 1x1; input added where shapes agree.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        expansion: Factor of the hidden width; with 1 the widening convolution is left out.
        stride: Stride of the depthwise convolution.
        activate: Whether a PReLU follows the last batch norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        expansion: int,
        stride: int = 1,
        activate: bool = False,
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [
                nn.Conv2d(in_channels, hidden, 1, bias=False),
                nn.BatchNorm2d(hidden),
                nn.PReLU(),
            ]
        layers += [
            nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden),
            nn.BatchNorm2d(hidden),
            nn.PReLU(),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        if activate:
            layers.append(nn.PReLU())
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        result: Tensor = self.conv(features)
        return features + result if self.residual else result


def _separable(channels: int) -> nn.Sequential:
    """Depthwise 3x3, pointwise 1x1, batch norm and ReLU, as applied after upsampling."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )
