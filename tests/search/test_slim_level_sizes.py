"""Parameters, MACs and latency as the size of a search: every point is on target once slim."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual

from secateur.cost.macs import count_macs
from secateur.cost.parameters import count_parameters, sparsity
from secateur.errors import InputError
from secateur.pruning.masks import apply_masks
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.search.exact_space import SIZE, ExactSpace, FrontSpace
from secateur.search.level_sizes import CoupledSparsity, levels_of_sizes
from secateur.search.rate_levels import RateMasks
from secateur.search.slim_level_sizes import SlimLevelSizes
from secateur.slimming.slim import slim
from tests import fake_timing

INPUTS = (torch.zeros(1, 3, 32, 32),)
GROUPS = {"stem": ["0"], "blocks": ["3", "4"], "tail": ["5"]}


def network() -> nn.Module:
    """Residual, depthwise and plain convolutions, the stem tied to a block of another group."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(InvertedResidual(16, 16, 1, 4), InvertedResidual(16, 24, 2, 3)),
        *(nn.Conv2d(24, 40, 3, bias=False), nn.BatchNorm2d(40), nn.ReLU()),
        nn.Conv2d(40, 10, 1),
    ).eval()


def pruner_of(model: nn.Module, scope: str) -> Pruner:
    return Pruner(
        model, INPUTS, PruningSettings("l1", 0.0, groups=GROUPS, exclude=["8"], scope=scope)
    )


def size(model: nn.Module, quantity: str) -> int:
    return count_parameters(model) if quantity == "params" else count_macs(model, INPUTS).total


@pytest.mark.parametrize("scope", ["coupled", "independent"])
@pytest.mark.parametrize("quantity", ["params", "macs"])
def test_fifty_points_are_on_target_within_one_filter(quantity: str, scope: str) -> None:
    model = network()
    pruner = pruner_of(model, scope)
    rate_masks = RateMasks(pruner, 0.9)
    sizes = SlimLevelSizes(pruner, rate_masks, INPUTS, quantity)
    if scope == "coupled":
        assert sizes.is_exact
    space = ExactSpace(
        levels_of_sizes(rate_masks.layers, rate_masks.thresholds, sizes), 0.5, 0.0, sizes
    )
    generator = np.random.default_rng(0)
    for number in range(50):
        point = dict(zip(rate_masks.groups, generator.random(3), strict=True))
        candidate = space.decode(point)
        assert abs(candidate.removed - 0.5) <= space.tolerance * (1 + 1e-9)
        if number < 3:  # what a real slimming of what the same rates prune leaves
            masked = copy.deepcopy(model)
            real = Pruner(
                masked,
                INPUTS,
                PruningSettings("l1", 0.0, candidate.rates, GROUPS, ["8"], scope=scope),
            )
            real.apply(real.plan())
            left = size(slim(masked, INPUTS).model, quantity) / size(model, quantity)
            assert candidate.removed == pytest.approx(1 - left, abs=1e-9)


def test_points_are_on_a_latency_that_was_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secateur.cost.latency.milliseconds", fake_timing.milliseconds)
    model = network()
    pruner = pruner_of(model, "coupled")
    rate_masks = RateMasks(pruner, 0.9)
    sizes = SlimLevelSizes(pruner, rate_masks, INPUTS, "latency")
    again: SlimLevelSizes = pickle.loads(pickle.dumps(sizes))
    assert again.measure([2, 3, 4]) == sizes.measure([2, 3, 4])
    levels = levels_of_sizes(rate_masks.layers, rate_masks.thresholds, sizes)
    highest = [len(group.thresholds) - 1 for group in levels.values()]
    most = sizes.measure(highest)
    masked = copy.deepcopy(model)
    apply_masks(masked, rate_masks.masks(rate_masks.rates(highest)), pruner.batchnorms)
    left = fake_timing.milliseconds(slim(masked, INPUTS).model) / fake_timing.milliseconds(model)
    assert most == pytest.approx(1 - left)
    assert sizes.is_exact
    space = ExactSpace(levels, most / 2, 0.0, sizes)
    for seed in range(10):
        point = dict(zip(rate_masks.groups, np.random.default_rng(seed).random(3), strict=True))
        assert abs(space.decode(point).removed - most / 2) <= max(space.tolerance, 0.01)


def test_front_of_macs() -> None:
    pruner = pruner_of(network(), "coupled")
    rate_masks = RateMasks(pruner, 0.9)
    sizes = SlimLevelSizes(pruner, rate_masks, INPUTS, "macs")
    levels = levels_of_sizes(rate_masks.layers, rate_masks.thresholds, sizes)
    space = FrontSpace(levels, 0.6, 0.0, 0.1, sizes)
    for wanted in (0.1, 0.35, 0.6):
        candidate = space.decode({**dict.fromkeys(rate_masks.groups, 0.5), SIZE: wanted})
        assert abs(candidate.removed - wanted) <= space.exact.tolerance * (1 + 1e-9)


def test_coupled_sparsity_is_that_of_the_masks() -> None:
    model = network()
    pruner = pruner_of(model, "coupled")
    rate_masks = RateMasks(pruner, 0.9)
    sizes = CoupledSparsity(pruner, rate_masks)
    space = ExactSpace(
        levels_of_sizes(rate_masks.layers, rate_masks.thresholds, sizes), 0.4, sizes.start, sizes
    )
    for seed in range(5):
        point = dict(zip(rate_masks.groups, np.random.default_rng(seed).random(3), strict=True))
        candidate = space.decode(point)
        assert abs(candidate.removed - 0.4) <= space.tolerance * (1 + 1e-9)
        masked = copy.deepcopy(model)
        real = Pruner(
            masked,
            INPUTS,
            PruningSettings("l1", 0.0, candidate.rates, GROUPS, ["8"], scope="coupled"),
        )
        real.apply(real.plan())
        assert sparsity(masked) == pytest.approx(candidate.removed, abs=1e-9)


@pytest.mark.parametrize("scope", ["independent", "coupled"])
def test_masks_are_those_of_the_pruner(scope: str) -> None:
    model = network()
    rate_masks = RateMasks(pruner_of(model, scope), 0.9)
    rates = {"stem": 0.3, "blocks": 0.45, "tail": 0.29}
    planned = Pruner(
        model, INPUTS, PruningSettings("l1", 0.0, rates, GROUPS, ["8"], scope=scope)
    ).plan()
    found = rate_masks.masks(rates)
    assert found.keys() == planned.keys()
    assert all(torch.equal(found[name], planned[name]) for name in planned)


def test_one_ranking_of_all_layers_leaves_nothing_to_search() -> None:
    with pytest.raises(InputError, match="scope=global"):
        RateMasks(pruner_of(network(), "global"), 0.9)
