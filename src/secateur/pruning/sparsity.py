"""Sparsity: the share of a network's parameters that are zero, the definition of both papers."""

from __future__ import annotations

from torch import nn


def count_parameters(model: nn.Module) -> int:
    """Parameters of a network; one that is registered several times counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_nonzero(model: nn.Module) -> int:
    """Parameters that are not zero, of any kind, each counted once."""
    return sum(int(parameter.count_nonzero()) for parameter in model.parameters())


def sparsity(model: nn.Module) -> float:
    """Zero parameters over all parameters.

    Args:
        model: Network.

    Returns:
        A fraction in [0, 1]; 0 for a network without parameters.
    """
    parameters = count_parameters(model)
    return (parameters - count_nonzero(model)) / max(parameters, 1)
