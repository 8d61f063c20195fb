"""Pruner: a criterion, rates and groups resolved against one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from secateur.pruning.criteria import score_layers
from secateur.pruning.groups import rates_per_layer, resolve_groups
from secateur.pruning.layers import prunable_layers
from secateur.pruning.masks import apply_masks
from secateur.pruning.plan import plan_masks
from secateur.pruning.trace import batchnorm_after


class Pruner:
    """Plans masks for a network and applies them.

    Everything that can be wrong with the names and rates is found on construction, before any
    training.

    Args:
        model: Network to prune; kept by reference.
        example_inputs: Arguments of one forward call, to find the batch norm behind each filter.
        criterion: Name of the criterion, such as ``fpgm``.
        rate: Rate of layers and groups without a rate of their own, in [0, 1).
        rates: Rates of groups, in [0, 1).
        groups: Patterns of layer names per group; empty puts every layer under ``rate``.
        exclude: Patterns of layer names that are never pruned.
        mask_batchnorm: Whether a pruned filter loses its batch-norm scale and shift too.

    Raises:
        InputError: If a name fits nothing or a rate is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: tuple[Tensor, ...],
        criterion: str,
        rate: float,
        rates: Mapping[str, float] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        exclude: Sequence[str] = (),
        mask_batchnorm: bool = True,
    ) -> None:
        self.model = model
        self.criterion = criterion
        self.layers = prunable_layers(model, exclude)
        # A group may name heads that are excluded here: patterns are held against all layers.
        everything = resolve_groups(groups or {}, prunable_layers(model))
        self.groups = {
            group: [name for name in names if name in self.layers]
            for group, names in everything.items()
        }
        self.rates = rates_per_layer(rate, rates or {}, self.groups, list(self.layers))
        self.batchnorms = batchnorm_after(model, example_inputs) if mask_batchnorm else {}
        self.scores: dict[str, Tensor] = {}

    def plan(self, fraction: float = 1.0) -> dict[str, Tensor]:
        """Score the filters as they are now and choose which to keep.

        Args:
            fraction: Share of each rate to remove, in (0, 1]; below 1 while a schedule rises.

        Returns:
            Per layer a mask (n_filters,), True = kept.
        """
        with torch.no_grad():
            self.scores = score_layers(self.layers, self.criterion)
        rates = {name: rate * fraction for name, rate in self.rates.items()}
        return plan_masks(self.scores, rates)

    def apply(self, keep: Mapping[str, Tensor]) -> None:
        """Zero the filters that ``keep`` drops."""
        apply_masks(self.model, keep, self.batchnorms)
