"""A network so small that a run of it is over in seconds."""

from __future__ import annotations

from torch import Tensor, nn


class TinyEmbedder(nn.Module):
    """Two convolutions, embeddings of 16 numbers."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.embedding_size = 16
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 16, 3, stride=2),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 16),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, 16) of images (B, 3, H, W)."""
        embeddings: Tensor = self.layers(images)
        return embeddings
