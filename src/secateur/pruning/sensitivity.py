"""Sensitivity: how much worse a network is when one layer or group alone is pruned, untrained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from secateur.cost.parameters import sparsity
from secateur.pruning.coupled_sets import FIXED
from secateur.pruning.pruner import Pruner


@dataclass(frozen=True, slots=True)
class SensitivityPoint:
    """One part of a network pruned at one rate.

    Attributes:
        part: Name of the layer or group; empty for the network as it is.
        rate: Fraction of the filters of each of its layers that is zero.
        sparsity: Zero parameters over all parameters of the network.
        quality: Figure that ``evaluate`` returned.
    """

    part: str
    rate: float
    sparsity: float
    quality: float


def layers_that_prune_alone(pruner: Pruner) -> dict[str, list[str]]:
    """Put layers together that cannot lose filters without each other.

    Args:
        pruner: Network, layers and scope.

    Returns:
        Names of layers by the name of the first of them. Without a coupled scope every layer is
        alone; under one, layers that write the same channels are together, and those of which no
        filter can go are left out.

    Example:
        >>> from secateur.pruning.settings import PruningSettings
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1, groups=4),
        ...                         nn.Conv2d(4, 6, 1), nn.Conv2d(6, 2, 1))
        >>> inputs = (torch.zeros(1, 3, 8, 8),)
        >>> settings = PruningSettings("l1", 0.0, scope="coupled")
        >>> layers_that_prune_alone(Pruner(network, inputs, settings))
        {'0': ['0', '1'], '2': ['2']}
    """
    if pruner.sets.coupling is None:
        return {name: [name] for name in pruner.layers}
    sets = pruner.sets
    # Layers and the kinds of sets in them are nodes of a graph; what hangs together goes together.
    together: dict[int, list[str]] = {}
    for name in pruner.layers:
        of = sets.of[name]
        of = of[of != FIXED]
        kinds = {int(kind) for kind in torch.unique(sets.tied_sets[of])} if len(of) else set()
        if not kinds:
            continue
        parts = {id(part): part for kind in kinds if (part := together.get(kind)) is not None}
        joined = [other for part in parts.values() for other in part] + [name]
        for kind in kinds | {kind for kind, part in together.items() if id(part) in parts}:
            together[kind] = joined
    order = {name: place for place, name in enumerate(pruner.layers)}
    found = {id(part): sorted(part, key=order.__getitem__) for part in together.values()}
    return {part[0]: part for part in sorted(found.values(), key=lambda part: order[part[0]])}


def measure_sensitivity(
    pruner: Pruner,
    parts: Mapping[str, Sequence[str]],
    rates: Sequence[float],
    evaluate: Callable[[nn.Module], float],
) -> Iterator[SensitivityPoint]:
    """Prune each part alone at each rate; the network is afterwards as it was.

    Filters are ranked layer by layer, under a coupled scope among the sets of the same layers:
    channels go with all that they are coupled to, so a part should hold whole sets (see
    `layers_that_prune_alone`). Of a part that does not, only what lies within it is pruned.

    Args:
        pruner: Network, criterion and layers.
        parts: Names of layers by name of the part.
        rates: Fractions of filters to remove, in (0, 1).
        evaluate: Quality of the masked network; may change it, such as its batch norms.

    Yields:
        The network as it is, then part by part with rising rates.
    """
    model = pruner.model
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pruner.scores = pruner.score()

    def measure(part: str, rate: float) -> SensitivityPoint:
        layers = {name: rate for name in parts.get(part, ()) if name in pruner.scores}
        try:
            pruner.apply(pruner.plan_alone(layers))
            return SensitivityPoint(part, rate, sparsity(model), evaluate(model))
        finally:
            with torch.no_grad():
                model.load_state_dict(state)

    yield measure("", 0.0)
    for part in parts:
        for rate in sorted(rates):
            yield measure(part, rate)
