"""Weights that a forward computes, put into plain layers: exact in evaluation.

Weight standardisation (Qiao et al. 2019; the scaled form of NFNet, Brock et al. 2021), weight norm
and spectral norm make the weight of a layer from other parameters in every forward. A mask has no
hold on such a weight, and a filter's statistics change with the channels that it reads. In
evaluation the result is a constant, so a plain layer with that constant computes the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from secateur.evaluation_mode import evaluation_mode
from secateur.network_copy import copy_network
from secateur.slimming.graph.constant_propagation import input_free_tensors
from secateur.slimming.graph.network_graph import NetworkGraph, is_convolution, module_name
from secateur.slimming.graph.operators import PADS, bind, operator_name


class SamePaddedConv2d(nn.Conv2d):
    """A convolution that pads its input so that the output has ceil(size / stride) pixels.

    More of the border lies right and below where it is odd, as in TensorFlow.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Convolve (B, channels, H, W) to (B, filters, ceil(H / stride), ceil(W / stride))."""
        border: list[int] = []
        for dim in (1, 0):
            size, stride = images.shape[2 + dim], self.stride[dim]
            reach = (self.kernel_size[dim] - 1) * self.dilation[dim] + 1
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            border += [total // 2, total - total // 2]
        return super().forward(nn.functional.pad(images, border))


def with_plain_weights(model: nn.Module, traced: NetworkGraph) -> tuple[nn.Module, tuple[str, ...]]:
    """Replace layers whose weight is computed by plain ones that hold the result.

    Args:
        model: Network; it is not changed.
        traced: Its operator graph.

    Returns:
        A copy with plain layers and their names; the model itself and nothing if all are plain.
    """
    standardized = _computed(model, traced)
    normed = [name for name, module in model.named_modules() if _is_normed(module)]
    if not standardized and not normed:
        return model, ()
    plain = copy_network(model)
    with evaluation_mode(plain), torch.no_grad():
        for name in normed:
            _remove_norms(plain.get_submodule(name))
    for name, (kind, weight, bias) in standardized.items():
        old = plain.get_submodule(name)
        assert isinstance(old, nn.Conv2d)
        if _is_normed(old):
            continue
        new = _put_plain(plain, name, kind, bias is not None)
        new.weight = nn.Parameter(weight.to(old.weight), old.weight.requires_grad)
        if bias is not None:
            new.bias = nn.Parameter(bias.detach().clone().to(old.weight), old.weight.requires_grad)
    return plain, tuple(dict.fromkeys((*normed, *standardized)))


def plain_layers(model: nn.Module) -> dict[str, str]:
    """Layers that hold a weight which the dense network computes -> what they are now.

    Args:
        model: A slim network.
    """
    return {
        name: vars(module)[_PLAIN]
        for name, module in model.named_modules()
        if _PLAIN in vars(module)
    }


def make_plain(model: nn.Module, name: str, kind: str, *, bias: bool) -> None:
    """Do to a layer of the dense network what ``with_plain_weights`` did; its weight is void then.

    Args:
        model: Changed in place.
        name: Name of the layer.
        kind: As ``plain_layers`` gives it.
        bias: Whether the layer has a bias.

    Raises:
        ValueError: If there is no such kind, or the layer is of another one.
    """
    old = model.get_submodule(name)
    if kind == _NORMED and _is_normed(old):
        _remove_norms(old)
    elif kind in _KINDS and isinstance(old, nn.Conv2d):
        _put_plain(model, name, _KINDS[kind], bias)
    else:
        raise ValueError(f"{name} is no layer that could compute its weight as {kind!r}")


_PLAIN = "_plain_layer"  # marks layers that hold what the dense network computes
_NORMED = "normed"
_KINDS: dict[str, type[nn.Conv2d]] = {"plain": nn.Conv2d, "same": SamePaddedConv2d}


def _put_plain(model: nn.Module, name: str, kind: type[nn.Conv2d], bias: bool) -> nn.Conv2d:
    """Put a plain convolution of the same geometry in place of one; its weight is random."""
    old = model.get_submodule(name)
    assert isinstance(old, nn.Conv2d)
    new = kind(
        old.in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        0 if kind is SamePaddedConv2d else old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        old.groups,
        bias=bias,
        device=old.weight.device,
        dtype=old.weight.dtype,
    )
    vars(new)[_PLAIN] = next(word for word, known in _KINDS.items() if known is kind)
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, new.train(old.training))
    return new


def _is_normed(module: nn.Module) -> bool:
    """Whether ``torch.nn.utils`` computes a tensor of the module, in its old or its new way."""
    return parametrize.is_parametrized(module) or any(
        isinstance(hook, WeightNorm | SpectralNorm) for hook in module._forward_pre_hooks.values()
    )


def _remove_norms(module: nn.Module) -> None:
    vars(module)[_PLAIN] = _NORMED
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
    if parametrize.is_parametrized(module):
        parametrizations = module.parametrizations
        assert isinstance(parametrizations, nn.ModuleDict)
        # Removing deletes the property from a class that copies share with their original
        # (torch.nn.utils.parametrize), so this module gets one of its own first.
        shared = type(module)
        own = {key: v for key, v in vars(shared).items() if key not in ("__dict__", "__weakref__")}
        module.__class__ = type(shared.__name__, shared.__bases__, own)
        for name in list(parametrizations):
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def _computed(
    model: nn.Module, traced: NetworkGraph
) -> dict[str, tuple[type[nn.Conv2d], Tensor, Tensor | None]]:
    """Convolutions that compute their weight: kind of the plain layer, its weight and bias."""
    calls = [
        node
        for node in traced.nodes
        if is_convolution(node) and bind(node)["weight"] not in traced.names
    ]
    if not calls:
        return {}
    known = input_free_tensors(traced)
    modules = dict(model.named_modules())
    padded = {module_name(node) for node in traced.nodes if operator_name(node) in PADS}
    found: dict[str, tuple[type[nn.Conv2d], Tensor, Tensor | None]] = {}
    for node in calls:
        arguments, name = bind(node), module_name(node)
        weight, bias = arguments["weight"], arguments["bias"]
        if weight in known and (bias is None or bias in known) and name not in found:
            module = modules.get(name)
            if isinstance(module, nn.Conv2d) and weight.meta["val"].shape == module.weight.shape:
                kind = SamePaddedConv2d if name in padded else nn.Conv2d
                found[name] = (kind, known[weight], None if bias is None else known[bias])
    return found
