"""Evaluation mode: of networks for a while, and of batch norms while the rest is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def evaluation_mode(*models: nn.Module) -> Iterator[None]:
    """Put networks in evaluation mode, and each of their modules back to what it was in.

    Args:
        models: Networks, changed in place.
    """
    was = {module: module.training for model in models for module in model.modules()}
    if any(was.values()):
        for model in models:
            model.eval()
    try:
        yield
    finally:
        # To set an attribute of a module takes as long as a small layer.
        for module, training in was.items():
            if module.training != training:
                module.training = training


def freeze_batchnorms(network: nn.Module) -> None:
    """Put the batch norms of a network that is trained into evaluation mode.

    Args:
        network: Its other modules stay in the mode that they are in.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
        >>> freeze_batchnorms(network)
        >>> [module.training for module in network]
        [True, False]
    """
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
