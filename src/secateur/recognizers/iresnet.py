"""IResNet: the residual network of ArcFace (Deng et al., CVPR 2019; blocks of Duta et al., 2020).

A block is batch norm, convolution, batch norm, PReLU, convolution, batch norm (section 3.2.2 of
ArcFace, after Han et al. 2017), the first convolution keeps the resolution, and the embedding is a
linear layer over the whole last map. Names of tensors are those of arcface_torch, so that its
public weights load.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "stages": {
        "stem": ("conv1",),
        "stage1": ("layer1",),
        "stage2": ("layer2",),
        "stage3": ("layer3",),
        "stage4": ("layer4",),
    },
}
HEADS: tuple[str, ...] = ()
"""A linear layer writes the embedding, so no convolution has to be left alone."""

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
_CHANNELS = (64, 128, 256, 512)


class ResidualBlock(nn.Module):
    """Two convolutions between batch norms, added to what they read.

    Args:
        inputs: Channels that it reads.
        outputs: Channels that it writes.
        stride: Of the second convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride > 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        found = self.prelu(self.bn2(self.conv1(self.bn1(features))))
        found = self.bn3(self.conv2(found))
        shortcut = features if self.downsample is None else self.downsample(features)
        result: Tensor = found + shortcut
        return result


class IResNet(nn.Module):
    """A residual network with an embedding of 512 numbers.

    Args:
        depth: 18, 34, 50 or 100.
        input_size: Side of the pictures in pixels; the last linear layer is made for it. The
            public weights are for 112.
        dropout: Share of the last map that training drops.

    Raises:
        ValueError: If there is no network of this depth.
    """

    embedding_size = 512

    def __init__(self, depth: int = 50, input_size: int = 112, dropout: float = 0.0) -> None:
        super().__init__()
        if depth not in _BLOCKS:
            raise ValueError(f"depth must be one of {', '.join(map(str, _BLOCKS))}, got {depth}")
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        inputs = 64
        stages = []
        for count, outputs in zip(_BLOCKS[depth], _CHANNELS, strict=True):
            blocks = [ResidualBlock(inputs, outputs, 2)]
            blocks += [ResidualBlock(outputs, outputs, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.bn2 = nn.BatchNorm2d(512)
        self.dropout = nn.Dropout(dropout)
        side = -(-input_size // 16)  # four times halved, rounded up
        self.fc = nn.Linear(512 * side**2, self.embedding_size)
        self.features = nn.BatchNorm1d(self.embedding_size)
        nn.init.ones_(self.features.weight)
        self.features.weight.requires_grad = False  # its scale is that of the loss
        self._initialize()

    def _initialize(self) -> None:
        """Small weights, as the authors start."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.1)

    def forward(self, images: Tensor) -> Tensor:
        """Embed.

        Args:
            images: (B, 3, S, S), normalised to -1..1, S being the size it was built for.

        Returns:
            (B, 512).
        """
        found = self.prelu(self.bn1(self.conv1(images)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            found = stage(found)
        found = self.dropout(torch.flatten(self.bn2(found), 1))
        result: Tensor = self.features(self.fc(found))
        return result
