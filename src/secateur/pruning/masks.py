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
from torch.nn.modules.conv import _ConvTransposeNd

from secateur.errors import InputError
from secateur.filters import FilterLayer, filters_of, number_of_filters


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
        InputError: If a weight is computed by weight norm or the like.
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
        norms = _batchnorm_masks(masks, batchnorms or {})
        masks |= {n: m for n, m in norms.items() if scales_channels(modules[n], len(m))}
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

    def applied(self) -> dict[int, Tensor]:
        """What `apply` would make of the tensors, which stay as they are, by their ``id``.

        A tensor of which nothing stays holds a single zero, whatever its shape.
        """
        found: dict[int, Tensor] = {}
        for tensor, mask in zip(self._parameters, self._masks, strict=True):
            before = found.get(id(tensor), tensor.detach())
            zero = torch.zeros((), dtype=tensor.dtype, device=tensor.device)
            found[id(tensor)] = before * mask if bool(mask.any()) else zero.expand(tensor.shape)
        return found

    def _add(self, name: str, module: nn.Module, mask: Tensor) -> None:
        """Remember the tensors of a layer or norm and what multiplies them.

        Any module that is no layer counts as a norm: a batch norm, one whose scale and shift are
        buffers, an instance norm with statistics.
        """
        if isinstance(module, FilterLayer):
            n_filters = number_of_filters(module)
        else:
            weight = _part(module, "weight")
            assert weight is not None
            n_filters = weight.shape[0]
        if mask.shape != (n_filters,):
            raise ValueError(f"mask of {name} has shape {tuple(mask.shape)}, not ({n_filters},)")
        for part in ("weight", "bias"):
            tensor = _part(module, part)
            if tensor is not None:
                if part not in module._parameters and part not in module._buffers:
                    raise InputError(
                        f"the {part} of {name} is computed in every forward, so no mask holds it: "
                        f"make it plain with torch.nn.utils.parametrize.remove_parametrizations, "
                        "remove_weight_norm or remove_spectral_norm before pruning"
                    )
                self._parameters.append(tensor)
                self._masks.append(mask if tensor.ndim == 1 else _like(tensor, module, mask))


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


def scales_channels(module: nn.Module, n_channels: int) -> bool:
    """Whether a norm has a scale for each channel, and a shift for each or none.

    Args:
        module: Batch norm, instance norm or the like; its scale and shift may be buffers.
        n_channels: Channels that it acts on.
    """
    scale, shift = _part(module, "weight"), _part(module, "bias")
    if scale is None or scale.shape != (n_channels,):
        return False
    if shift is None:  # none at all, or something that is no tensor
        return getattr(module, "bias", None) is None
    return shift.shape == (n_channels,)


def _part(module: nn.Module, name: str) -> Tensor | None:
    """Weight or bias of a module; None if it has no tensor of that name."""
    # A module looks its parameters up in Python: half the time of a mask went into that.
    if name in module._parameters:
        return module._parameters[name]
    tensor = getattr(module, name, None)
    return tensor if isinstance(tensor, Tensor) else None


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


def _like(weight: Tensor, layer: nn.Module, mask: Tensor) -> Tensor:
    """Mask (n_filters,) in a shape that multiplies the layer's weight."""
    ones = [1] * (weight.ndim - 1)
    if isinstance(layer, _ConvTransposeNd):
        # Stored as (in, out / groups, h, w): see filters_of.
        per_group = layer.in_channels // layer.groups
        grouped = mask.view(layer.groups, 1, -1).expand(-1, per_group, -1)
        return grouped.reshape(layer.in_channels, -1, *ones[1:])
    return mask.view(-1, *ones)
