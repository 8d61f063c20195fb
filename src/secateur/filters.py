"""Layers with filters, and the filters of a layer as rows of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

# Convolutions of one, two and three dimensions, transposed ones among them.
FilterLayer: TypeAlias = _ConvNd | nn.Linear


def filters_of(layer: nn.Module, values: Tensor | None = None) -> Tensor:
    """Filters of a layer as rows.

    Args:
        layer: Convolution, transposed convolution or linear layer.
        values: Tensor with the shape of the layer's weight, such as its gradient; the weight
            itself by default.

    Returns:
        Tensor (n_filters, k): row i holds the k weights that write output channel i. A view
        where the layout allows it.

    Raises:
        TypeError: If the layer has no filters.
    """
    if not isinstance(layer, FilterLayer):
        raise TypeError(f"{type(layer).__name__} has no filters")
    weight = layer.weight if values is None else values
    if isinstance(layer, _ConvTransposeNd):
        # Stored as (in, out / groups, h, w), with one or three sizes in other dimensions: output
        # channels are the second axis of each group.
        grouped = weight.view(layer.groups, -1, *weight.shape[1:])
        return grouped.transpose(1, 2).reshape(layer.out_channels, -1)
    return weight.flatten(1)


def number_of_filters(layer: nn.Module) -> int:
    """Output channels of a layer.

    Raises:
        TypeError: If the layer has no filters.
    """
    if not isinstance(layer, FilterLayer):
        raise TypeError(f"{type(layer).__name__} has no filters")
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def as_arguments(example_inputs: Tensor | Sequence[Any]) -> tuple[Any, ...]:
    """Positional arguments of the forward: a lone tensor is a forward with one argument."""
    return (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
