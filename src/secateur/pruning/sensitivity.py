"""Sensitivity: how much worse a network is when one layer or group alone is pruned, untrained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from secateur.cost.parameters import sparsity
from secateur.pruning.masks import apply_masks
from secateur.pruning.pruner import Pruner
from secateur.pruning.ranking import plan_masks


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


def measure_sensitivity(
    pruner: Pruner,
    parts: Mapping[str, Sequence[str]],
    rates: Sequence[float],
    evaluate: Callable[[nn.Module], float],
) -> Iterator[SensitivityPoint]:
    """Prune each part alone at each rate; the network is afterwards as it was.

    Filters are chosen layer by layer (scope ``independent``), because a part is to be looked at
    alone and coupled channels lie in several.

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
    scores = pruner.score()

    def measure(part: str, rate: float) -> SensitivityPoint:
        layers = {name: rate for name in parts.get(part, ()) if name in scores}
        keep = plan_masks({name: scores[name] for name in layers}, layers)
        try:
            apply_masks(model, keep, pruner.batchnorms)
            return SensitivityPoint(part, rate, sparsity(model), evaluate(model))
        finally:
            with torch.no_grad():
                model.load_state_dict(state)

    yield measure("", 0.0)
    for part in parts:
        for rate in sorted(rates):
            yield measure(part, rate)
