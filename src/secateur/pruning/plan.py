"""The plan: scores and rates become masks of filters to keep, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def number_to_prune(rate: float, n_filters: int) -> int:
    """How many of ``n_filters`` a rate removes: floor(rate * n_filters).

    The product is taken in double precision and truncated as it comes out, so that 0.29 of 100
    filters is 28 (0.29 * 100 = 28.999999999999996). The published pruned networks were made with
    exactly this rule; rounding first would prune other numbers of filters than they have.

    Args:
        rate: Fraction of filters to remove, in [0, 1).
        n_filters: Filters of the layer.

    Returns:
        Number of filters to remove, at least 0 and below ``n_filters``.

    Raises:
        ValueError: If the rate is out of range.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be in [0, 1), got {rate}")
    return min(int(rate * n_filters), max(n_filters - 1, 0))


def plan_masks(scores: Mapping[str, Tensor], rates: Mapping[str, float]) -> dict[str, Tensor]:
    """Keep the filters with the highest scores, each layer by itself (scope ``independent``).

    Of filters with equal scores the one with the lower index goes first.

    Args:
        scores: Per layer scores (n_filters,), low = expendable.
        rates: Per layer fraction of filters to remove, in [0, 1).

    Returns:
        Per layer a mask (n_filters,), True = kept, in the order of ``scores``.

    Raises:
        ValueError: If a layer has no rate or its rate is out of range.
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
