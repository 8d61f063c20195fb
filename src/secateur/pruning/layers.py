"""Layers whose filters can be pruned, and groups of layers that share one rate."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd

from secateur.errors import InputError
from secateur.schema import is_number, shown


def prunable_layers(
    model: nn.Module, exclude: Sequence[str] = (), also: Collection[str] = ()
) -> dict[str, nn.Module]:
    """Convolutions and transposed convolutions of a network, of any dimension, each once.

    A layer that is called several times or registered under several names counts once, under the
    name it was registered with first.

    Args:
        model: Network.
        exclude: Patterns of layers that are not to be pruned, such as the heads.
        also: Names of other layers that may be pruned, such as hidden linear layers.

    Returns:
        Layers by name, in the order of registration.

    Raises:
        InputError: If a pattern fits no layer or no layer is left.
    """
    layers: dict[str, nn.Module] = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _ConvNd) or name in also
    }
    excluded = {name for pattern in exclude for name in match_layers(pattern, layers, "exclude")}
    left = {name: layer for name, layer in layers.items() if name not in excluded}
    if not left:
        reason = "every convolution is excluded" if layers else "it has no convolution"
        raise InputError(f"{type(model).__name__} cannot be pruned: {reason}")
    return left


def match_layers(pattern: str, layers: Iterable[str], where: str) -> list[str]:
    """Find the names that a shell-style pattern fits.

    Args:
        pattern: Name of a layer or of a module around layers; ``*``, ``?`` and ``[...]`` match
            any characters, dots included.
        layers: Names of layers.
        where: Where the pattern was given, for the message.

    Returns:
        The names that fit, in the order of ``layers``.

    Raises:
        InputError: If the pattern fits none.

    Example:
        >>> match_layers("head", ["stem.conv", "head.0", "head.1"], "exclude")
        ['head.0', 'head.1']
    """
    names = list(layers)
    fits = [
        name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
    ]
    if not fits:
        close = get_close_matches(pattern, _with_parents(names), n=3, cutoff=0.5)
        hint = (
            f"close names are {', '.join(close)}" if close else f"layers are named {names[0]} ..."
        )
        raise InputError(f"pattern {pattern!r} in {where} fits no layer; {hint}")
    return fits


def _with_parents(names: Iterable[str]) -> list[str]:
    """Names of layers and of all modules around them, each once."""
    parents: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        parents.update(dict.fromkeys(".".join(parts[: i + 1]) for i in range(len(parts))))
    return list(parents)


def resolve_groups(
    groups: Mapping[str, Sequence[str]], layers: Iterable[str]
) -> dict[str, list[str]]:
    """Names of the layers in each group.

    Args:
        groups: Patterns of layer names per group.
        layers: Names of layers.

    Returns:
        Names of layers per group, in the order of ``layers``. Layers may be in no group.

    Raises:
        InputError: If a pattern fits no layer or a layer is in two groups.

    Example:
        >>> resolve_groups({"g1": ["stem"]}, ["stem.conv", "head.0"])
        {'g1': ['stem.conv']}
    """
    names = list(layers)
    owner: dict[str, str] = {}
    resolved: dict[str, list[str]] = {}
    for group, patterns in groups.items():
        fits: set[str] = set()
        for pattern in patterns:
            fits.update(match_layers(pattern, names, f"group {group}"))
        for name in sorted(fits & owner.keys()):
            raise InputError(
                f"layer {name} is in group {owner[name]} and in group {group}; "
                f"narrow the patterns of one of them"
            )
        owner.update(dict.fromkeys(fits, group))
        resolved[group] = [name for name in names if name in fits]
    return resolved


def rates_per_layer(
    rate: float,
    rates: Mapping[str, float],
    groups: Mapping[str, Sequence[str]],
    layers: Iterable[str],
) -> dict[str, float]:
    """Rate of each layer: that of its group, or the general one.

    Args:
        rate: Rate of layers whose group has none of its own, in [0, 1).
        rates: Rates of groups, in [0, 1).
        groups: Names of layers per group, from ``resolve_groups``.
        layers: Names of the layers that may be pruned.

    Returns:
        Rate per layer, in the order of ``layers``.

    Raises:
        InputError: If a rate is out of range, or its group is unknown or has no layer.

    Example:
        >>> rates_per_layer(0.1, {"g1": 0.5}, {"g1": ["stem"]}, ["stem", "head"])
        {'stem': 0.5, 'head': 0.1}
    """
    check_rate(rate, "rate")
    for group, value in rates.items():
        if group not in groups:
            known = f"known groups are {', '.join(groups)}" if groups else "no groups are defined"
            raise InputError(f"rates has a rate for the unknown group {group!r}; {known}")
        check_rate(value, f"rate of group {group}")
        if value > 0 and not groups[group]:
            raise InputError(
                f"group {group} has a rate but all its layers are excluded from pruning; "
                f"leave its rate out or do not exclude them"
            )
    of_layer = {name: rates[group] for group in rates for name in groups[group]}
    return {name: float(of_layer.get(name, rate)) for name in layers}


def check_rate(rate: float, what: str) -> None:
    """Check that a number is a fraction of filters.

    Args:
        rate: The number.
        what: Name of the setting, for the message.

    Raises:
        InputError: If ``rate`` is not in [0, 1).
    """
    if not is_number(rate) or not 0 <= rate < 1:
        raise InputError(
            f"{what} must be at least 0 and below 1, got {shown(rate)}; "
            f"it is the fraction of filters to remove"
        )
