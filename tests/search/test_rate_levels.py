"""Tests of levels: they say what the floor rule does at any rate."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from secateur.pruning.ranking import plan_masks
from secateur.search.rate_levels import make_levels

SIZES = {"a": 16, "b": 8, "c": 5}


def scores() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(n, generator=generator) for name, n in SIZES.items()}


def weigh(keep: dict[str, Tensor]) -> float:
    """Filter i of a layer takes i + 1 parts of 1,000."""
    total = sum(float((torch.arange(len(mask)) + 1)[~mask].sum()) for mask in keep.values())
    return total / 1000


@settings(deadline=None, max_examples=200)
@given(rate=st.floats(0, 0.95))
def test_level_of_any_rate_is_what_the_plan_removes(rate: float) -> None:
    levels = make_levels(list(SIZES), scores(), weigh, 0.95)
    level = levels.of_rate(rate)
    masks = plan_masks(scores(), dict.fromkeys(SIZES, rate))
    assert abs(levels.removed[level] - weigh(masks)) < 1e-12


def test_levels_rise_and_end_at_the_highest_rate() -> None:
    levels = make_levels(list(SIZES), scores(), weigh, 0.5)
    assert levels.thresholds[0] == levels.removed[0] == 0
    assert (levels.thresholds[1:] > levels.thresholds[:-1]).all()
    assert (levels.removed[1:] > levels.removed[:-1]).all()
    assert levels.thresholds[-1] == pytest.approx(0.5)
