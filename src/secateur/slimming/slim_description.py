"""Structure of a slim network as plain values: what slimming changed beside shapes of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from secateur.schema import is_count, is_number
from secateur.slimming.channel_means import rescaled_offsets, restore_offsets
from secateur.slimming.computed_weights import make_plain, plain_layers
from secateur.slimming.scattered_conv import ScatteredConv2d
from secateur.slimming.surgery import replace_tensors, update_sizes
from secateur.slimming.written_sizes import restore_integers, rewritten_integers

LARGEST_NUMBER = 65_536


def describe(model: nn.Module) -> dict[str, Any]:
    """Describe what slimming may have changed beside shapes of tensors, as plain JSON values."""
    groups = {
        name: module.groups
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1
    }
    groups |= {
        name: module.num_groups
        for name, module in model.named_modules()
        if isinstance(module, nn.GroupNorm)
    }
    identities = [name for name, module in model.named_modules() if type(module) is nn.Identity]
    scattered = {
        name: module.width
        for name, module in model.named_modules()
        if isinstance(module, ScatteredConv2d)
    }
    return {
        "groups": groups,
        "identities": identities,
        "scattered": scattered,
        "integers": rewritten_integers(model),
        "offsets": rescaled_offsets(model),
        "plain": plain_layers(model),
    }


def resize(
    model: nn.Module, specification: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Turn a dense network into the slim one that was described.

    Args:
        model: Dense network, changed in place.
        specification: What ``describe`` returned.
        tensors: All parameters and buffers of the slim network by name.

    Raises:
        ValueError: If names or dimensions do not belong together.
        AttributeError: If the network has no such module.
    """
    for name in specification["identities"]:
        owner, _, attribute = name.rpartition(".")
        if model.get_submodule(name) is not None:
            model.get_submodule(owner)._modules[attribute] = nn.Identity()
    for name, kind in specification["plain"].items():
        make_plain(model, name, kind, bias=f"{name}.bias" in tensors)
    for name, values in specification["integers"].items():
        restore_integers(model.get_submodule(name), values)
    for name, offsets in specification["offsets"].items():
        restore_offsets(model.get_submodule(name), offsets)
    for name, width in specification["scattered"].items():
        owner, _, attribute = name.rpartition(".")
        layer, places = model.get_submodule(name), tensors.get(f"{name}.places")
        if type(layer) is not nn.Conv2d or places is None:
            raise ValueError(f"{name} is no convolution whose filters could be scattered")
        scattered = ScatteredConv2d(layer, places, width)
        model.get_submodule(owner)._modules[attribute] = scattered
    present = tensors_of(model)
    for name in [name for name in tensors if name not in present]:
        owner, _, attribute = name.rpartition(".")
        module = model.get_submodule(owner)
        if attribute != "bias" or "bias" not in module._parameters:
            raise ValueError(f"tensor {name} has no place in {type(model).__name__}")
        module._parameters["bias"] = nn.Parameter(tensors[name].clone())
    missing = [name for name in present if name not in tensors]
    wrong = [n for n, t in present.items() if n in tensors and t.dim() != tensors[n].dim()]
    if missing or wrong:
        raise ValueError(f"tensor {[*missing, *wrong][0]} is missing or has another rank")
    replace_tensors(model, {id(t): tensors[n].to(t.device) for n, t in present.items()})
    for name, module in model.named_modules():
        # a depthwise layer of which one channel is left has no groups any more
        groups = 1 if isinstance(module, nn.modules.conv._ConvNd) else None
        update_sizes(module, specification["groups"].get(name, groups))


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, each once, under the first name it is registered with."""
    return dict(model.named_buffers()) | dict(model.named_parameters())


def is_description(values: dict[str, Any]) -> bool:
    """Whether these are what ``describe`` writes; parts that came later are added where absent."""
    return (
        _is_list_of_names(values.get("identities"))
        and _is_counts(values.get("groups"))
        and _is_counts(values.setdefault("scattered", {}))
        and _is_integers(values.setdefault("integers", {}))
        and _is_offsets(values.setdefault("offsets", {}))
        and _is_words(values.setdefault("plain", {}))
    )


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def _is_counts(value: object) -> bool:
    return isinstance(value, dict) and all(
        is_count(count, 1, LARGEST_NUMBER) for count in value.values()
    )


def _is_integers(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(numbers, list)
        and all(
            is_count(n, -LARGEST_NUMBER, LARGEST_NUMBER)
            for entry in numbers
            for n in (entry if isinstance(entry, list) else [entry])
        )
        for numbers in value.values()
    )


def _is_offsets(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(offsets, dict) and all(is_number(offset) for offset in offsets.values())
        for offsets in value.values()
    )


def _is_words(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(word, str) for word in value.values())
