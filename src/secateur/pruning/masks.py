"""Masks on a network: setting pruned filters to zero and holding them there.

A masked filter writes exactly zero: its weights and bias are zero, so the convolution writes
zero, and the scale and shift of the batch norm behind it are zero, so whatever finite running
mean and variance it has, the batch norm writes zero too. Running statistics are left alone.
A batch norm without scale and shift cannot be masked; its constant stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from secateur.filters import filters_of, number_of_filters


class MaskHolder:
    """Sets the pruned filters of one network to zero, after every optimizer step if need be.

    Weight decay, momentum and the gradient of a batch-norm shift move pruned filters away from
    zero in every step. Zeroing them afterwards is enough: optimisers work element by element, so
    what they remember of a pruned weight reaches no other.

    Parameters stay the same objects with the same storage, so that optimisers, DDP and mixed
    precision do not notice.

    Args:
        model: Network with the masked layers, not wrapped.
        keep: Per layer a mask (n_filters,), True = kept.
        batchnorms: Name of the batch norm behind a layer, by name of the layer. Layers that
            share one lose a channel of it only when all of them lose that filter.

    Raises:
        ValueError: If a name or the length of a mask does not fit the network.
    """

    def __init__(
        self,
        model: nn.Module,
        keep: Mapping[str, Tensor],
        batchnorms: Mapping[str, str] | None = None,
    ) -> None:
        """Find the parameters to zero."""
        modules = dict(model.named_modules())
        masks: dict[str, Tensor] = {}
        for name, mask in keep.items():
            if name not in modules:
                raise ValueError(f"masks are for another network: it has no layer {name}")
            masks[name] = mask.to(modules[name].weight)
        masks |= _batchnorm_masks(masks, batchnorms or {})
        self._parameters: list[Tensor] = []
        self._masks: list[Tensor] = []
        for name, mask in masks.items():
            self._add(name, modules[name], mask)

    @torch.no_grad()
    def apply(self) -> None:
        """Set what is pruned to zero."""
        if self._parameters:
            # What torch's own optimisers step with; half the time of a loop over parameters.
            torch._foreach_mul_(self._parameters, self._masks)

    def _add(self, name: str, module: nn.Module, mask: Tensor) -> None:
        """Remember the parameters of a layer or batch norm and what multiplies them."""
        if isinstance(module, _BatchNorm | nn.GroupNorm | nn.LayerNorm):
            n_filters = module.weight.shape[0] if module.weight is not None else len(mask)
        else:
            n_filters = number_of_filters(module)
        if mask.shape != (n_filters,):
            raise ValueError(f"mask of {name} has shape {tuple(mask.shape)}, not ({n_filters},)")
        for parameter in (module.weight, module.bias):
            if isinstance(parameter, Tensor):
                self._parameters.append(parameter)
                self._masks.append(mask if parameter.ndim == 1 else _like_weight(module, mask))


def apply_masks(
    model: nn.Module, keep: Mapping[str, Tensor], batchnorms: Mapping[str, str] | None = None
) -> None:
    """Set pruned filters to zero, once.

    Args:
        model: Network, changed in place.
        keep: Per layer a mask (n_filters,), True = kept.
        batchnorms: Name of the batch norm behind a layer, by name of the layer; its scale and
            shift are masked too.

    Raises:
        ValueError: If a name or the length of a mask does not fit the network.
    """
    MaskHolder(model, keep, batchnorms).apply()


def masks_from_zeros(layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Read the masks of a network from its zeros: filters whose weights and bias are all zero.

    Args:
        layers: Layers by name.

    Returns:
        Per layer a mask (n_filters,), True = some weight is not zero.
    """
    masks = {}
    for name, layer in layers.items():
        masks[name] = (filters_of(layer).detach() != 0).any(1)
        if isinstance(layer.bias, Tensor):
            masks[name] |= layer.bias.detach() != 0
    return masks


def _batchnorm_masks(
    masks: Mapping[str, Tensor], batchnorms: Mapping[str, str]
) -> dict[str, Tensor]:
    """Masks of batch norms: a channel is removed when every layer that writes it loses it."""
    writers: dict[str, list[str]] = {}
    for layer, batchnorm in batchnorms.items():
        writers.setdefault(batchnorm, []).append(layer)
    return {
        batchnorm: reduce(torch.maximum, (masks[layer] for layer in layers))
        for batchnorm, layers in writers.items()
        if all(layer in masks for layer in layers)
    }


def _like_weight(layer: nn.Module, mask: Tensor) -> Tensor:
    """Mask (n_filters,) in a shape that multiplies the layer's weight."""
    if isinstance(layer, nn.ConvTranspose2d):
        # Stored as (in, out / groups, h, w): see filters_of.
        per_group = layer.in_channels // layer.groups
        grouped = mask.view(layer.groups, 1, -1).expand(-1, per_group, -1)
        return grouped.reshape(layer.in_channels, -1, 1, 1)
    return mask.view(-1, 1) if isinstance(layer, nn.Linear) else mask.view(-1, 1, 1, 1)
