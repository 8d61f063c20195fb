"""Ranking: which filters are removed first, and against which others they are ranked.

``independent``: each layer ranks its own filters, as published. ``coupled``: sets of channels
that can only be removed together are ranked among those of the same layers, so all that is
pruned can be removed. ``global``: one ranking of all filters of the network, or of a group with a
rate of its own. ``global_coupled``: one ranking of sets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor

from secateur.errors import InputError
from secateur.pruning.coupled_sets import FIXED
from secateur.pruning.coupling import FilterSets

SCOPES = ("independent", "coupled", "global", "global_coupled")
ROUNDING = 1e-9
"""How far below a whole number a product of a rate still is that number."""


def check_scope(scope: str) -> None:
    """Refuse a scope that does not exist.

    Raises:
        InputError: If ``scope`` is unknown.
    """
    if scope not in SCOPES:
        close = get_close_matches(scope, SCOPES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(SCOPES)}"
        raise InputError(f"scope {scope!r} does not exist; {hint}")


@dataclass(frozen=True, slots=True)
class Ranking:
    """The order in which sets are removed, and how many a rate removes.

    Args:
        scores: Normalised score of each set, low = expendable, (n_sets,).
        removed_before: Number of sets removed up to and including this one: sets of its
            layers, or filters of its pool; infinite for a set that a floor keeps, (n_sets,).
        pool_size: Number of sets, or of filters, that it is ranked among, (n_sets,).
        rates: Rate of each set, (n_sets,).
    """

    scores: Tensor
    removed_before: Tensor
    pool_size: Tensor
    rates: Tensor

    def removed(self, fraction: float = 1.0) -> Tensor:
        """Sets removed at a fraction of their rates: floor(rate * pool_size) of each, (n_sets,)."""
        return self.removed_before <= (self.rates * fraction * self.pool_size + ROUNDING).floor()

    def order(self) -> Tensor:
        """All sets that may be removed, in the order of removal when all rates rise together.

        Of sets that are removed at the same rate the one with the lower score comes first.
        """
        may = (self.rates > 0) & self.removed_before.isfinite()
        moment = torch.where(may, self.removed_before / (self.pool_size * self.rates), torch.inf)
        by_score = self.scores.argsort(stable=True)
        order = by_score[moment[by_score].argsort(stable=True)]
        return order[: int(may.sum())]


def score_sets(sets: FilterSets, scores: Mapping[str, Tensor]) -> Tensor:
    """Score of each set: the mean over its filters of their scores normalised per layer.

    Scores of a layer are divided by their root mean square. That is the normalisation by the l2
    norm of Molchanov et al. 2017 (section 2.2) without its dependence on the number of filters,
    which would give the filters of wide layers low scores.

    Args:
        sets: The sets.
        scores: Per layer scores (n_filters,).

    Returns:
        Scores (n_sets,), double precision.
    """
    total = torch.zeros(len(sets.layer_set), dtype=torch.float64)
    for name, score in scores.items():
        score = score.detach().cpu().double()
        size = score.square().mean().sqrt()
        normal = score / size if size > 0 else score
        of = sets.of[name]
        total.index_add_(0, of[of != FIXED], normal[of != FIXED])
    return total / sets.filters


def rank_dead_first(scores: Mapping[str, Tensor], dead: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scores with which dead filters are removed before all others of their layer.

    Args:
        scores: Per layer scores (n_filters,), low = expendable.
        dead: Per layer which filters are dead, (n_filters,).

    Example:
        >>> dead = {"conv": torch.tensor([False, True, False])}
        >>> rank_dead_first({"conv": torch.tensor([1.0, 5.0, 0.0])}, dead)
        {'conv': tensor([ 1., -2.,  0.])}
    """
    ranked = {}
    for name, score in scores.items():
        # Below all others by about what a filter scores, so that sizes within a layer stay alike.
        step = score.abs().mean().clamp(min=torch.finfo(score.dtype).tiny)
        ranked[name] = torch.where(dead[name].to(score.device), score.min() - step, score)
    return ranked


def rates_of_sets(sets: FilterSets, rates: Mapping[str, float]) -> Tensor:
    """Rate of each set: the lowest among the layers that it has filters in, (n_sets,)."""
    lowest = torch.full((len(sets.layer_set),), torch.inf, dtype=torch.float64)
    for name in sets.layers:
        of = sets.of[name]
        lowest[of[of != FIXED]] = lowest[of[of != FIXED]].clamp(max=rates[name])
    return lowest


def rank_within_layers(
    sets: FilterSets, scores: Tensor, rates: Tensor, min_keep: float = 0
) -> Ranking:
    """Rank each set among those of the same layers; of equal scores the lower index is first.

    Args:
        sets: The sets.
        scores: Score of each set, (n_sets,).
        rates: Rate of each set, (n_sets,).
        min_keep: Share of the sets of the same layers that stays whatever the rate; one set stays
            in any case.
    """
    removed_before, pool_size = _count_removed(sets.layer_set, scores, torch.ones_like(scores))
    place_left = torch.where(
        removed_before > pool_size - _floors(pool_size, min_keep), torch.inf, removed_before
    )
    return Ranking(_bundled(sets, scores, removed_before), place_left, pool_size, rates)


def rank_together(
    sets: FilterSets, scores: Tensor, rates: Tensor, pools: Tensor, min_keep: float
) -> Ranking:
    """Rank all sets of a pool against each other; a rate then is a share of the pool's filters.

    Args:
        sets: The sets.
        scores: Score of each set, comparable between layers, (n_sets,).
        rates: Rate of each set, the same all over a pool, (n_sets,).
        pools: Pool of each set, (n_sets,).
        min_keep: Share of the sets of the same layers that stays: the best ones, at least one.
    """
    removed_before, pool_size = _count_removed(sets.layer_set, scores, torch.ones_like(scores))
    stays = removed_before > pool_size - _floors(pool_size, min_keep)
    scores = _bundled(sets, scores, removed_before)
    filters = sets.filters.double()
    _, total = _count_removed(pools, scores, filters)
    removed_before, _ = _count_removed(pools, scores, torch.where(stays, 0.0, filters))
    return Ranking(scores, torch.where(stays, torch.inf, removed_before), total, rates)


def _bundled(sets: FilterSets, scores: Tensor, removed_before: Tensor) -> Tensor:
    """Scores with which tied combinations of layers lose equally many sets, (n_sets,).

    The worst sets of all tied combinations get the mean of their scores, then the second worst,
    and so on: groups of a convolution shrink together or not at all.
    """
    key = sets.tied_sets * (len(scores) + 1) + removed_before.long()
    _, bundle = torch.unique(key, return_inverse=True)
    count = torch.bincount(bundle)
    total = torch.zeros(len(count), dtype=scores.dtype).index_add_(0, bundle, scores)
    return (total / count)[bundle]


def _floors(pool_size: Tensor, min_keep: float) -> Tensor:
    # 0.1 * 30 is 3.0000000000000004, but three filters are meant.
    return (min_keep * pool_size - 1e-9).ceil().clamp(min=1)


def _count_removed(part: Tensor, scores: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Running and whole sums of sizes inside each part, from the lowest score up, (n_sets,)."""
    by_score = scores.argsort(stable=True)
    order = by_score[part[by_score].argsort(stable=True)]
    n_parts = int(part.max()) + 1 if len(part) else 0
    whole = torch.zeros(n_parts, dtype=sizes.dtype).index_add_(0, part, sizes)
    before = whole.cumsum(0) - whole
    removed_before = torch.empty_like(sizes)
    removed_before[order] = sizes[order].cumsum(0) - before[part[order]]
    return removed_before, whole[part]


def number_to_prune(rate: float, n_filters: int) -> int:
    """How many of ``n_filters`` a rate removes: floor(rate * n_filters), as on paper.

    In double precision 0.29 * 100 is 28.999999999999996; what is that close to a whole number is
    that number. For the rates of the published networks, multiples of 0.1 up to 0.6, truncation
    of the plain product gives the same for every number of filters up to 2,048.

    Args:
        rate: Fraction of filters to remove, in [0, 1).
        n_filters: Filters of the layer.

    Returns:
        Number of filters to remove, at least 0 and below ``n_filters``.

    Raises:
        ValueError: If the rate is out of range.

    Example:
        >>> number_to_prune(0.3, 10), number_to_prune(0.29, 100)
        (3, 29)
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be in [0, 1), got {rate}")
    return min(math.floor(rate * n_filters + ROUNDING), max(n_filters - 1, 0))


def plan_masks(scores: Mapping[str, Tensor], rates: Mapping[str, float]) -> dict[str, Tensor]:
    """Keep the filters with the highest scores, each layer by itself (scope ``independent``).

    Of filters with equal scores the one with the lower index is removed first.

    Args:
        scores: Per layer scores (n_filters,), low = expendable.
        rates: Per layer fraction of filters to remove, in [0, 1).

    Returns:
        Per layer a mask (n_filters,), True = kept, in the order of ``scores``.

    Raises:
        ValueError: If a layer has no rate or its rate is out of range.

    Example:
        >>> plan_masks({"conv": torch.tensor([3.0, 1.0, 2.0])}, {"conv": 0.4})
        {'conv': tensor([ True, False,  True])}
    """
    missing = scores.keys() - rates.keys()
    if missing:
        raise ValueError(f"no rate for {', '.join(sorted(missing))}")
    alike: dict[tuple[object, ...], list[str]] = {}
    for name, score in scores.items():
        alike.setdefault((len(score), score.device, score.dtype), []).append(name)
    keep: dict[str, Tensor] = {}
    for names in alike.values():
        stack = torch.stack([scores[name] for name in names])
        n_filters = stack.shape[1]
        pruned = torch.tensor(
            [[number_to_prune(rates[name], n_filters)] for name in names], device=stack.device
        )
        rank = stack.argsort(dim=1, stable=True).argsort(dim=1)
        keep.update(zip(names, (rank >= pruned).unbind(), strict=True))
    return {name: keep[name] for name in scores}
