"""Dead filters: those of a trained network that write nothing, whatever they read.

Weight decay pulls the filters that a network does without to zero, where they end as denormal
numbers, below the smallest normal one (1.2e-38 in float32), which a processor may take for zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from secateur.cost.parameters import count_parameters
from secateur.filters import filters_of


@dataclass(frozen=True, slots=True)
class DeadFilters:
    """The dead filters of a network and what they take of it.

    Args:
        of: Per layer which of its filters are dead, (n_filters,).
        parameters: Share of the network's parameters that these filters are, in [0, 1]: weights
            and biases, scales and shifts of the norms behind them.
        vanished: Share of all parameters that are zero or denormal, in [0, 1]; weights that read
            dead filters are mostly among them.
    """

    of: dict[str, Tensor]
    parameters: float
    vanished: float

    @property
    def count(self) -> int:
        """How many filters are dead."""
        return sum(int(dead.sum()) for dead in self.of.values())

    def __str__(self) -> str:
        """One line for a log."""
        filters = sum(map(len, self.of.values()))
        return (
            f"{self.count} of {filters:,} filters are dead, {self.parameters:.1%} of the "
            f"parameters; {self.vanished:.1%} of all parameters are zero or denormal"
        )


def find_dead_filters(
    model: nn.Module, layers: Mapping[str, nn.Module], norms: Mapping[str, str]
) -> DeadFilters:
    """Find filters whose weights and bias, or whose norm's scale and shift, are zero or denormal.

    Args:
        model: Network.
        layers: Its layers by name.
        norms: Name of the batch norm behind a layer, by name of the layer.

    Example:
        >>> conv = nn.Conv2d(1, 4, 1, bias=False)
        >>> with torch.no_grad():
        ...     _ = conv.weight.copy_(torch.tensor([1, 1e-41, 0, 1e-30]).view(4, 1, 1, 1))
        >>> dead = find_dead_filters(nn.Sequential(conv), {"0": conv}, {})
        >>> dead.count, dead.parameters
        (2, 0.5)
    """
    dead: dict[str, Tensor] = {}
    taken: dict[int, Tensor] = {}  # parameters by filter, once where layers share a norm
    for name, layer in layers.items():
        filters, bias = filters_of(layer).detach(), getattr(layer, "bias", None)
        gone = _vanish(filters).all(1)
        if isinstance(bias, Tensor):
            gone = gone & _vanish(bias.detach())
        norm = model.get_submodule(norms[name]) if name in norms else None
        scales = [] if norm is None else _scales(norm, len(gone))
        if scales:
            gone = gone | torch.stack([_vanish(tensor.detach()) for tensor in scales]).all(0)
        dead[name] = gone
        taken[id(layer)] = gone * (filters.shape[1] + int(isinstance(bias, Tensor)))
        if scales:
            held = gone * sum(isinstance(tensor, nn.Parameter) for tensor in scales)
            taken[id(norm)] = torch.maximum(taken.get(id(norm), held), held)
    total = max(count_parameters(model), 1)
    vanished = sum(int(_vanish(parameter.detach()).sum()) for parameter in model.parameters())
    own = sum(int(numbers.sum()) for numbers in taken.values())
    return DeadFilters(dead, own / total, vanished / total)


def _scales(norm: nn.Module, n_channels: int) -> list[Tensor]:
    """Scale of a norm and its shift, if it has one; nothing if it has no scale per channel."""
    scale, shift = getattr(norm, "weight", None), getattr(norm, "bias", None)
    if not isinstance(scale, Tensor) or scale.shape != (n_channels,):
        return []
    return [scale, shift] if isinstance(shift, Tensor) else [scale]


def _vanish(values: Tensor) -> Tensor:
    """Which numbers are zero or denormal, whether or not a processor takes them for zero."""
    if not values.is_floating_point():
        return values == 0
    return values.abs() < torch.finfo(values.dtype).tiny
