"""MobileFaceNet: inverted residuals with a global depthwise convolution (Chen et al., 2018).

The layers are those of table 1 of the paper; arcface_torch trains it with twice the channels in
its stages and 512 numbers, and its names of tensors are used, so that its public weights load.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "stages": {
        "stem": ("layers.0", "layers.1"),
        "stage1": ("layers.2", "layers.3"),
        "stage2": ("layers.4", "layers.5"),
        "stage3": ("layers.6", "layers.7"),
        "top": ("conv_sep", "features"),
    },
}
HEADS: tuple[str, ...] = ()
"""A linear layer writes the embedding, so no convolution has to be left alone."""


class LinearBlock(nn.Module):
    """Convolution and batch norm.

    Args:
        inputs: Channels that it reads.
        outputs: Channels that it writes.
        kernel: Side of the kernel.
        stride: Of the convolution.
        padding: Around the picture.
        groups: Groups of the convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H', W')."""
        result: Tensor = self.layers(features)
        return result


class ConvBlock(LinearBlock):
    """Convolution, batch norm and PReLU; arguments are those of ``LinearBlock``."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, groups)
        self.layers.append(nn.PReLU(outputs))


class DepthWise(nn.Module):
    """A bottleneck: expansion, depthwise convolution, projection.

    Args:
        inputs: Channels that it reads.
        outputs: Channels that it writes.
        hidden: Channels of the depthwise convolution.
        stride: Of the depthwise convolution.
        residual: Whether what it reads is added.
    """

    def __init__(
        self, inputs: int, outputs: int, hidden: int, stride: int = 1, residual: bool = False
    ) -> None:
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            ConvBlock(inputs, hidden),
            ConvBlock(hidden, hidden, 3, stride, 1, groups=hidden),
            LinearBlock(hidden, outputs),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        found = self.layers(features)
        result: Tensor = found + features if self.residual else found
        return result


class Residual(nn.Module):
    """Bottlenecks in a row, each added to what it reads.

    Args:
        channels: Channels that it reads and writes.
        count: Number of bottlenecks.
        hidden: Channels of the depthwise convolutions.
    """

    def __init__(self, channels: int, count: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(DepthWise(channels, channels, hidden, residual=True) for _ in range(count))
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        result: Tensor = self.layers(features)
        return result


class Embedding(nn.Module):
    """Global depthwise convolution and a linear layer (section 3.2 of the paper).

    Args:
        size: Numbers in an embedding.
        side: Side of the map that it reads.
    """

    def __init__(self, size: int, side: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            LinearBlock(512, 512, side, groups=512),
            nn.Flatten(),
            nn.Linear(512, size, bias=False),
            nn.BatchNorm1d(size),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, 512, side, side) to (B, size)."""
        result: Tensor = self.layers(features)
        return result


class MobileFaceNet(nn.Module):
    """A light network with an embedding of 512 numbers, or of as many as are asked for.

    Args:
        scale: Channels of the stages over those of the paper; arcface_torch takes 2.
        embedding_size: Numbers in an embedding; the paper has 128.
        blocks: Bottlenecks of the second, third and fourth stage.
        input_size: Side of the pictures in pixels; the global convolution is made for it. The
            public weights are for 112.
    """

    def __init__(
        self,
        scale: int = 2,
        embedding_size: int = 512,
        blocks: Sequence[int] = (4, 6, 2),
        input_size: int = 112,
    ) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        narrow, wide = 64 * scale, 128 * scale
        self.layers = nn.ModuleList(
            [
                ConvBlock(3, narrow, 3, 2, 1),
                ConvBlock(narrow, narrow, 3, 1, 1, groups=64),
                DepthWise(narrow, narrow, 128, stride=2),
                Residual(narrow, blocks[0], 128),
                DepthWise(narrow, wide, 256, stride=2),
                Residual(wide, blocks[1], 256),
                DepthWise(wide, wide, 512, stride=2),
                Residual(wide, blocks[2], 256),
            ]
        )
        self.conv_sep = ConvBlock(wide, 512)
        self.features = Embedding(embedding_size, -(-input_size // 16))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Embed.

        Args:
            images: (B, 3, S, S), normalised to -1..1, S being the size it was built for.

        Returns:
            (B, embedding_size).
        """
        found = images
        for layer in self.layers:
            found = layer(found)
        result: Tensor = self.features(self.conv_sep(found))
        return result
