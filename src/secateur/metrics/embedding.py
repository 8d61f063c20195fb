"""Embeddings of images, on option averaged with those of their mirror images."""

from __future__ import annotations

from torch import Tensor, nn


def embed(network: nn.Module, images: Tensor, flip: bool = False) -> Tensor:
    """Compute embeddings.

    Args:
        network: Gives ``(B, D)`` for ``(B, 3, H, W)``.
        images: ``(B, 3, H, W)`` network input.
        flip: Whether to take the mean over each image and its mirror image.

    Returns:
        ``(B, D)`` embeddings.
    """
    embeddings: Tensor = network(images)
    if flip:
        embeddings = (embeddings + network(images.flip(-1))) / 2
    return embeddings
