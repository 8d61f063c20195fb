"""SqueezeNet as a face recogniser (Iandola et al. 2016; SqueezeFacePoseNet, arXiv 2007.08566)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import squeezenet1_1
from torchvision.models.squeezenet import Fire

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "stages": {
        "stem": ("features.0",),
        "fire2_3": ("features.3", "features.4"),
        "fire4_5": ("features.6", "features.7"),
        "fire6_9": ("features.9", "features.1[0-2]"),
    },
}
HEADS: tuple[str, ...] = ("classifier.1",)
"""The last convolution writes the embedding, whose dimension pruning is to leave alone."""


class SqueezeNet(nn.Module):
    """Torchvision's SqueezeNet 1.1 with batch norm; the embedding is what its pooling layer gives.

    The published 1.24 M parameters are weights and biases of its 26 convolutions (1,235,496). The
    papers add batch norm and do not say where; here it follows every convolution, before the
    ReLU, which makes 7,888 scales and shifts more. Names are torchvision's, so its files fit.

    Args:
        stride: Stride of the first convolution. The papers reduce it from 2 to 1 for 113 pixels.
    """

    embedding_size = 1000

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        base = squeezenet1_1()
        self.features: nn.Sequential = base.features
        self.classifier: nn.Sequential = base.classifier
        self.classifier[0] = nn.Identity()  # dropout, of no use before an embedding
        stem = self.features[0]
        assert isinstance(stem, nn.Conv2d)
        stem.stride = (stride, stride)
        self.features[1] = _norm_relu(stem.out_channels)
        self.classifier[2] = _norm_relu(self.embedding_size)
        for fire in self.features:
            if isinstance(fire, Fire):
                fire.squeeze_activation = _norm_relu(fire.squeeze.out_channels)
                fire.expand1x1_activation = _norm_relu(fire.expand1x1.out_channels)
                fire.expand3x3_activation = _norm_relu(fire.expand3x3.out_channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Embed.

        Args:
            images: (B, 3, H, W), normalised, of any size from 33 pixels.

        Returns:
            (B, 1000), not negative.
        """
        return torch.flatten(self.classifier(self.features(images)), 1)


def _norm_relu(channels: int) -> nn.Sequential:
    """Batch norm and ReLU in the place of a ReLU."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
