"""Batch-norm re-estimation: what masks change in the activations, without any training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from secateur.evaluation_mode import evaluation_mode


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace running means and variances by their average over some batches (EagleEye, 2020).

    Weights are not touched, so masked filters stay exactly zero.

    Args:
        model: Network, changed in place; every module keeps its mode.
        batches: Inputs, at least one.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    norms = [module for module in norms if module.track_running_stats]
    momenta = [module.momentum for module in norms]
    with evaluation_mode(model):
        for module in norms:
            module.reset_running_stats()
            module.momentum = None  # a cumulative average instead of an exponential one
            module.train()
        for inputs in batches:
            model(inputs)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
