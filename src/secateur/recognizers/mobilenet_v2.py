"""MobileNetV2 as a face recogniser (Sandler et al., CVPR 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "stages": {
        "stem": ("features.0.0",),
        "stride4": ("features.[1-3].conv",),
        "stride8": ("features.[4-6].conv",),
        "stride16": ("features.[7-9].conv", "features.1[0-3].conv"),
        "stride32": ("features.1[4-7].conv",),
    },
}
HEADS: tuple[str, ...] = ("features.18.0",)
"""The last convolution writes the embedding, whose dimension pruning is to leave alone."""


class MobileNetV2(nn.Module):
    """Torchvision's MobileNetV2; the embedding is the mean of its last feature map.

    The published 3.5 M parameters (3,504,872) count the ImageNet classifier of 1000 classes; the
    embedding network without it has 2,223,872. Names are torchvision's, so its files fit.

    Args:
        stride: Stride of the first convolution. The authors reduce it from 2 to 1 for 113 pixels,
            so that the maps have about the sizes they have on ImageNet.
    """

    embedding_size = 1280

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.features: nn.Sequential = mobilenet_v2().features
        stem = self.features.get_submodule("0.0")
        assert isinstance(stem, nn.Conv2d)
        stem.stride = (stride, stride)

    def forward(self, images: Tensor) -> Tensor:
        """Embed.

        Args:
            images: (B, 3, H, W), normalised, of any size.

        Returns:
            (B, 1280), within 0..6.
        """
        return torch.flatten(nn.functional.adaptive_avg_pool2d(self.features(images), 1), 1)
