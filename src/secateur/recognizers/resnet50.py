"""ResNet-50 as a face recogniser (He et al., CVPR 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import resnet50

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "stages": {
        "stem": ("conv1",),
        "stage1": ("layer1",),
        "stage2": ("layer2",),
        "stage3": ("layer3",),
        "stage4": ("layer4",),
    },
}
HEADS: tuple[str, ...] = ("layer4.2.conv3",)
"""The last convolution writes the embedding, whose dimension pruning is to leave alone."""


class ResNet50(nn.Module):
    """Torchvision's ResNet-50; the embedding is the mean of its last feature map.

    The published 23.5 M parameters (23,508,032) do not count a classifier: they are this network.
    Names are torchvision's, so its files fit.

    Args:
        stride: Stride of the first convolution: 1 for 113 pixels as for the two smaller networks,
            so that the maps have about the sizes they have on ImageNet.
    """

    embedding_size = 2048

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        base = resnet50()
        base.conv1.stride = (stride, stride)
        self.conv1: nn.Module = base.conv1
        self.bn1: nn.Module = base.bn1
        self.relu: nn.Module = base.relu
        self.maxpool: nn.Module = base.maxpool
        self.layer1: nn.Module = base.layer1
        self.layer2: nn.Module = base.layer2
        self.layer3: nn.Module = base.layer3
        self.layer4: nn.Module = base.layer4

    def forward(self, images: Tensor) -> Tensor:
        """Embed.

        Args:
            images: (B, 3, H, W), normalised, of any size.

        Returns:
            (B, 2048), not negative.
        """
        features = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = layer(features)
        return torch.flatten(nn.functional.adaptive_avg_pool2d(features, 1), 1)
