"""Fusing: convolution, batch norm and activation as one operator, for evaluation on a CPU."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_PLAIN: tuple[str, tuple[float, ...]] = ("none", ())


class FusedConvolution(nn.Module):
    """A convolution of oneDNN with an activation applied while the result is still in the cache.

    Called directly, oneDNN also takes the 1x1 convolutions of small batches, which PyTorch leaves
    to a slower kernel where it runs on one thread.

    Args:
        convolution: Convolution with zero padding, batch norm already folded into it.
        activation: Name that oneDNN knows: ``none``, ``relu`` or ``leaky_relu``.
        slopes: What the activation takes besides: the slope of ``leaky_relu``.
    """

    def __init__(
        self, convolution: nn.Conv2d, activation: str = "none", slopes: Sequence[float] = ()
    ) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self.padding, self.stride = convolution.padding, convolution.stride
        self.dilation, self.groups = convolution.dilation, convolution.groups
        self.activation, self.slopes = activation, list(slopes)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            features,
            self.weight,
            self.bias,
            self.padding,
            self.stride,
            self.dilation,
            self.groups,
            self.activation,
            self.slopes,
            "",
        )
        return result


def fuse(network: nn.Module) -> nn.Module:
    """A copy of a network for evaluation on a CPU with fewer operators.

    Wherever a ``Sequential`` runs a convolution, then its batch norm, then a ReLU or a PReLU of one
    slope, one operator does all three; every other convolution is called directly too. The batch
    norm is folded as y = (w s) x + (b - m) s + t with s = scale / sqrt(variance + epsilon), so
    the result differs by rounding alone, as with another number of threads.

    Args:
        network: Network in evaluation mode, in single precision on the CPU; it stays as it is.

    Returns:
        The copy, or the network itself where PyTorch has no oneDNN. It cannot be trained.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return network
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential):
            _fuse_chain(module)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if _can_be_fused(child):
                setattr(module, name, FusedConvolution(child))
    return network


def _fuse_chain(chain: nn.Sequential) -> None:
    """Fuse the neighbours of one chain; what they took over becomes an identity."""
    layers = list(chain)
    for position, layer in enumerate(layers):
        if not _can_be_fused(layer):
            continue
        following = layers[position + 1 : position + 3]
        taken = 0
        if following and _is_foldable(following[0]):
            layer = fuse_conv_bn_eval(layer, following[0])
            taken = 1
        activation = _activation(following[taken]) if len(following) > taken else _PLAIN
        taken += activation != _PLAIN
        chain[position] = FusedConvolution(layer, *activation)
        for offset in range(taken):
            chain[position + 1 + offset] = nn.Identity()


def _can_be_fused(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether this is an ordinary convolution, not a class of its own that does more."""
    return (
        type(layer) is nn.Conv2d
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and layer.weight.dtype == torch.float32
        and not layer._forward_hooks
        and not layer._forward_pre_hooks
    )


def _is_foldable(layer: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Whether this is a batch norm with statistics and parameters of its own."""
    return type(layer) is nn.BatchNorm2d and layer.track_running_stats and layer.affine


def _activation(layer: nn.Module) -> tuple[str, tuple[float, ...]]:
    """Name and slope of an activation for oneDNN; ``_PLAIN`` for what it cannot take over."""
    if type(layer) is nn.ReLU:
        return "relu", ()
    if type(layer) is nn.PReLU and layer.num_parameters == 1:
        return "leaky_relu", (float(layer.weight),)
    if type(layer) is nn.LeakyReLU:
        return "leaky_relu", (float(layer.negative_slope),)
    return _PLAIN
