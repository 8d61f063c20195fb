from __future__ import annotations

import torch
from torch import nn

from secateur.metrics.embeddings import embed


def test_flipping_averages_an_image_and_its_mirror_image() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten())
    images = torch.randn(2, 3, 6, 7)
    with torch.no_grad():
        assert torch.equal(embed(network, images), network(images))
        mirrored = torch.stack([network(image.flip(2)[None])[0] for image in images])
        torch.testing.assert_close(
            embed(network, images, flip=True), (network(images) + mirrored) / 2
        )
        torch.testing.assert_close(
            embed(network, images, flip=True), embed(network, images.flip(-1), flip=True)
        )
