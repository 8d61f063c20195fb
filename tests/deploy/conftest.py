"""Networks and pictures that the tests of exported files share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from secateur.detectors.eresfd import EResFD


def randomized(network: nn.Module, seed: int = 0) -> nn.Module:
    """A network whose batch norms and fusion weights are not what they start with."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.2, 0.2),
            ):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    if isinstance(network, EResFD):
        weights = network.base.m0.fpn.w1.data
        weights.copy_(torch.rand(weights.shape, generator=generator))
        weights[1, 1], weights[:, 3], weights[1, 6] = 0, 0, -1
        stem = network.base.conv1[0]
        assert isinstance(stem, nn.Conv2d)
        stem.weight.data.mul_(0.01)  # pixels are in 0..255, and these batch norms normalize nothing
    return network.eval()


@pytest.fixture(scope="session")
def picture() -> NDArray[np.uint8]:
    """(97, 131, 3): no side is even."""
    return np.random.default_rng(0).integers(0, 256, (97, 131, 3), dtype=np.uint8)
