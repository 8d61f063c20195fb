"""Pruner: a criterion, a scope, rates and groups resolved against one network."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from secateur.cost.dead_filters import DeadFilters, find_dead_filters
from secateur.pruning.coupled_sets import find_coupled_sets, hidden_linear_layers
from secateur.pruning.coupling import FilterSets, coupled_filters, single_filters
from secateur.pruning.criteria import score_layers
from secateur.pruning.layers import prunable_layers, rates_per_layer, resolve_groups
from secateur.pruning.masks import apply_masks, masks_from_zeros
from secateur.pruning.ranking import (
    Ranking,
    plan_masks,
    rank_dead_first,
    rank_together,
    rank_within_layers,
    rates_of_sets,
    score_sets,
)
from secateur.pruning.settings import PruningSettings
from secateur.pruning.sizes import SizeUnderMasks
from secateur.pruning.targets import Target
from secateur.slimming.graph.network_graph import NetworkGraph, batchnorm_after, trace

_OF_CONVOLUTIONS = ("batchnorm", "taylor")  # criteria that need more than a weight start so


class Pruner:
    """Plans masks for a network and applies them.

    Everything that can be wrong with the names and rates is found on construction, before any
    training.

    Args:
        model: Network to prune; kept by reference.
        example_inputs: Arguments of one forward call, to find what belongs to a filter.
        settings: What decides which filters it loses.
        traced: Operator graph of the network if it is at hand.

    Raises:
        InputError: If a name fits nothing or a number is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: tuple[Tensor, ...],
        settings: PruningSettings,
        traced: NetworkGraph | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.criterion = settings.criterion
        self.scope = settings.scope
        traced = (traced or trace(model, example_inputs)).with_equal(settings.equal)
        self.traced: NetworkGraph | None = traced
        coupled = settings.scope.endswith("coupled")
        channels = find_coupled_sets(model, example_inputs, traced) if coupled else None
        # Without the sets nothing tells a hidden linear layer from one that writes an output.
        also: tuple[str, ...] = ()
        if channels is not None and not settings.criterion.startswith(_OF_CONVOLUTIONS):
            also = hidden_linear_layers(model, channels)
        self.layers = prunable_layers(model, settings.exclude, also)
        # A group may name heads that are excluded here: patterns are held against all layers.
        everything = resolve_groups(settings.groups, prunable_layers(model, also=also))
        self.groups = {
            group: [name for name in names if name in self.layers]
            for group, names in everything.items()
        }
        self.rates = rates_per_layer(settings.rate, settings.rates, self.groups, list(self.layers))
        self._norms = batchnorm_after(traced)
        self.batchnorms = self._norms if settings.mask_batchnorm else {}
        self.scores: dict[str, Tensor] = {}
        self.statistics: dict[str, Tensor] = {}
        self.target = settings.size
        self._sizes = (
            SizeUnderMasks(model, example_inputs, self.target.quantity, settings.align, self.traced)
            if self.target is not None
            else None
        )
        self.sets: FilterSets = (
            coupled_filters(
                model,
                example_inputs,
                self.layers,
                align=settings.align,
                traced=traced,
                channels=channels,
            )
            if coupled
            else single_filters(self.layers)
        )

    def __getstate__(self) -> dict[str, Any]:
        """All but the operator graph, which cannot be handed to another process."""
        return {**self.__dict__, "traced": None}

    @property
    def needs_statistics(self) -> bool:
        """Whether the criterion reads what ``TaylorStatistics`` gathers."""
        return self.criterion.startswith("taylor")

    def plan(self, fraction: float = 1.0) -> dict[str, Tensor]:
        """Score the filters as they are now and choose which to keep.

        Args:
            fraction: Share of each rate to remove, in (0, 1]; below 1 while a schedule rises.

        Returns:
            Per layer a mask (n_filters,), True = kept. Under a coupled scope batch norms of
            coupled channels have masks too.
        """
        self.scores = self.score()
        if self.target is not None:
            return self._plan_target(self.target, fraction)
        if self.scope == "independent":
            rates = {name: rate * fraction for name, rate in self.rates.items()}
            return plan_masks(self.scores, rates)
        ranking = self.rank()
        return self._masks(ranking.removed(fraction), ranking)

    def plan_alone(self, rates: Mapping[str, float]) -> dict[str, Tensor]:
        """Masks under which some layers lose filters and all others stay whole.

        Filters are ranked layer by layer, or with those that they are coupled to, by the scores
        that the last ``plan`` or ``score`` of the caller left in ``scores``.

        Args:
            rates: Fraction of filters to remove, in [0, 1), by name of the layer.

        Returns:
            As of `plan`; without a coupled scope, of these layers alone.
        """
        if self.sets.coupling is None:
            return plan_masks({name: self.scores[name] for name in rates}, rates)
        every = {name: rates.get(name, 0.0) for name in self.layers}
        scores = score_sets(self.sets, self.scores)
        ranking = rank_within_layers(self.sets, scores, rates_of_sets(self.sets, every))
        return self._masks(ranking.removed(), ranking)

    def carried(self) -> dict[str, Tensor]:
        """Masks that the network carries already: what is all zero stays so.

        Returns:
            As of `plan`.
        """
        n_sets = len(rates_of_sets(self.sets, self.rates))
        whole = self.sets.masks(torch.zeros(n_sets, dtype=torch.bool), torch.zeros(n_sets))
        keep = masks_from_zeros(self.layers)
        for name in whole.keys() - keep.keys():  # batch norms of coupled channels
            norm = self.model.get_submodule(name)
            assert isinstance(norm.weight, Tensor)
            assert isinstance(norm.bias, Tensor)
            keep[name] = (norm.weight.detach() != 0) | (norm.bias.detach() != 0)
        return keep

    def score(self) -> dict[str, Tensor]:
        """Scores (n_filters,) of each layer by the criterion, for the weights as they are."""
        statistics = self.statistics
        if self.criterion == "batchnorm":
            norms = {name: self.model.get_submodule(norm) for name, norm in self._norms.items()}
            statistics = {
                name: norm.weight for name, norm in norms.items() if isinstance(norm.weight, Tensor)
            }
        generator = torch.Generator().manual_seed(self.settings.seed)
        scores = score_layers(
            self.layers, self.criterion, statistics=statistics, generator=generator
        )
        if self.settings.remove_dead:
            scores = rank_dead_first(scores, self.dead_filters().of)
        return scores

    def dead_filters(self) -> DeadFilters:
        """The dead ones among the filters that may be pruned, for the weights as they are."""
        return find_dead_filters(self.model, self.layers, self._norms)

    def rank(self, min_keep: float = 0.0) -> Ranking:
        """Order of all sets of filters by the scores of the last ``plan`` or ``score``.

        Args:
            min_keep: Share of each layer that a ranking inside layers leaves.
        """
        scores, rates = score_sets(self.sets, self.scores), rates_of_sets(self.sets, self.rates)
        if not self.scope.startswith("global"):
            return rank_within_layers(self.sets, scores, rates, min_keep)
        return rank_together(self.sets, scores, rates, self._pools(rates), self.settings.min_keep)

    def rates_of(self, keep: Mapping[str, Tensor]) -> dict[str, float]:
        """Rate of each layer; with a target, the share of its filters that the masks drop."""
        if self.target is None:
            return self.rates
        return {name: 1 - float(keep[name].double().mean()) for name in self.layers}

    def apply(self, keep: Mapping[str, Tensor], *, soft: bool = False) -> None:
        """Zero the filters that ``keep`` drops.

        Args:
            keep: Masks, as ``plan`` gives them.
            soft: Zero filters alone. A filter whose batch norm has a scale of zero gets no gradient
                and can never grow back, so batch norms are masked only once a mask is final.
        """
        if soft:
            apply_masks(self.model, {name: keep[name] for name in self.layers if name in keep})
        else:
            apply_masks(self.model, keep, self.batchnorms)

    def _pools(self, rates: Tensor) -> Tensor:
        """Pool in which each set is ranked, that of the group whose rate it has, (n_sets,)."""
        pool_of = {
            name: number
            for number, group in enumerate(self.settings.rates, 1)
            for name in self.groups[group]
        }
        pools = torch.zeros(len(rates), dtype=torch.long)
        for name in self.layers:
            sets = self.sets.of[name]
            sets = sets[sets >= 0]
            pools[sets[rates[sets] == self.rates[name]]] = pool_of.get(name, 0)
        return pools

    def _plan_target(self, target: Target, fraction: float) -> dict[str, Tensor]:
        """Masks with which the network has the size that is wanted, or a share of them."""
        assert self._sizes is not None
        ranking = self.rank(self.settings.min_keep)
        order = ranking.order()
        sizes = self._sizes
        sizes.refresh(self.layers, self.batchnorms)

        def first(number: int) -> dict[str, Tensor]:
            removed = torch.zeros(len(ranking.scores), dtype=torch.bool)
            removed[order[:number]] = True
            return self._masks(removed, ranking)

        return first(int(fraction * sizes.solve(first, len(order), target)))

    def _masks(self, removed: Tensor, ranking: Ranking) -> dict[str, Tensor]:
        return {
            name: mask.to(_device_of(self.model.get_submodule(name)))
            for name, mask in self.sets.masks(removed, ranking.scores).items()
        }


def _device_of(module: nn.Module) -> torch.device:
    # A frozen norm has buffers only.
    return next(chain(module.parameters(), module.buffers())).device
