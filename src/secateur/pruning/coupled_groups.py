"""Coupled groups: channel sets that lie in the same layers, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.pruning.coupled_sets import CoupledSets


@dataclass(frozen=True, slots=True)
class CoupledGroup:
    """Channel sets that have filters in the same layers.

    Args:
        layers: The layers, in the order in which the network runs through them.
        channels: Number of sets.
        removable: How many of them may be removed.
        reason: Why the others stay; empty if none does.
    """

    layers: tuple[str, ...]
    channels: int
    removable: int
    reason: str


def coupled_groups(channels: CoupledSets) -> tuple[CoupledGroup, ...]:
    """Put channel sets of the same layers together, in the order of their first layers.

    Args:
        channels: All channel sets of a network, from ``find_coupled_sets``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from secateur.pruning.coupled_sets import find_coupled_sets
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 3))
        >>> for group in coupled_groups(find_coupled_sets(network, torch.zeros(1, 3, 8, 8))):
        ...     print(group.layers, group.channels, group.removable, group.reason or "-")
        ('0',) 8 8 -
        ('1',) 2 0 it is an output of the network
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for one in channels.sets:
        found.setdefault(tuple(dict.fromkeys(name for name, _ in one.filters)), []).append(
            one.reason
        )
    return tuple(
        CoupledGroup(
            layers,
            len(reasons),
            sum(not reason for reason in reasons),
            next((reason for reason in reasons if reason), ""),
        )
        for layers, reasons in found.items()
    )
