"""Sparsity: the share of a network's parameters that are zero, the definition of both papers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def count_parameters(model: nn.Module) -> int:
    """Parameters of a network; one that is registered several times counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_nonzero(model: nn.Module) -> int:
    """Parameters that are not zero, of any kind, each counted once."""
    return sum(nonzero_of_parameters(model).values())


def nonzero_of_parameters(model: nn.Module) -> dict[int, int]:
    """Elements that are not zero of each parameter, by its ``id``."""
    return {id(p): _count_nonzero(p.detach()) for p in model.parameters()}


def _count_nonzero(values: Tensor) -> int:
    """Values that are not zero, of which a processor may take denormal ones for zero."""
    if not values.is_floating_point():
        return int(values.count_nonzero())
    bits = values.contiguous().view(_INTEGERS[values.element_size()]).flatten()
    # Without the sign, because -0.0 is zero; in parts that stay in the processor's memory.
    return sum([int((part << 1).count_nonzero()) for part in torch.split(bits, 2**16)])


def sparsity(model: nn.Module) -> float:
    """Zero parameters over all parameters.

    Args:
        model: Network.

    Returns:
        A fraction in [0, 1]; 0 for a network without parameters.
    """
    parameters = count_parameters(model)
    return (parameters - count_nonzero(model)) / max(parameters, 1)
