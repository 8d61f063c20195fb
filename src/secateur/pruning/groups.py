"""Groups: layers that share one rate, and the rate that each layer ends up with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from secateur.errors import InputError
from secateur.pruning.layers import match_layers


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
    """Refuse a number that is no fraction of filters.

    Raises:
        InputError: If ``rate`` is not in [0, 1).
    """
    if not 0 <= rate < 1:
        raise InputError(
            f"{what} must be at least 0 and below 1, got {rate:g}; "
            f"it is the fraction of filters to remove"
        )
