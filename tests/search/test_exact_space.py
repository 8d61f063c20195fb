"""Tests of the exact space: on target within one filter, monotone, within bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from secateur.cost.parameters import sparsity
from secateur.detectors.eresfd import GROUPS, EResFD
from secateur.detectors.extd import EXTD
from secateur.detectors.extd import GROUPS as EXTD_GROUPS
from secateur.errors import InputError
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.pruning.targets import NominalSparsity
from secateur.search.exact_space import SIZE, ExactSpace, FrontSpace
from secateur.search.rate_levels import Levels, make_levels
from secateur.weights.detector_weights import load_weights, read_weights

HIGHEST = 0.9
unit = st.floats(0, 1)


def detector(kind: str) -> tuple[nn.Module, Pruner]:
    torch.manual_seed(0)
    network: nn.Module = EResFD() if kind == "eresfd" else EXTD(64)
    table = GROUPS["released"] if kind == "eresfd" else EXTD_GROUPS["script"]
    pruner = Pruner(
        network,
        (torch.zeros(1, 3, 64, 64),),
        PruningSettings(
            "l1",
            rate=0.0,
            groups=table,
            exclude=["loc.*", "conf.*"],
        ),
    )
    return network, pruner


def levels_of(pruner: Pruner) -> tuple[dict[str, Levels], float]:
    weigh = NominalSparsity(pruner.model, pruner.layers, pruner.batchnorms)
    scores = pruner.score()
    groups = {name: layers for name, layers in pruner.groups.items() if layers}
    return {
        name: make_levels(layers, scores, weigh, HIGHEST) for name, layers in groups.items()
    }, weigh({})


@pytest.fixture(scope="module", params=["eresfd", "extd"])
def real(request: pytest.FixtureRequest) -> tuple[nn.Module, Pruner, dict[str, Levels], float]:
    network, pruner = detector(request.param)
    return network, pruner, *levels_of(pruner)


@settings(deadline=None, max_examples=150)
@given(point=st.lists(unit, min_size=6, max_size=6), target=st.floats(0.08, 0.75))
def test_every_point_is_on_target_within_one_filter(
    real: tuple[nn.Module, Pruner, dict[str, Levels], float], point: list[float], target: float
) -> None:
    _, _, levels, start = real
    candidate = ExactSpace(levels, target, start).decode(dict(zip(levels, point, strict=False)))
    largest = max(group.largest_filter for group in levels.values())
    assert abs(candidate.removed - target) <= largest * (1 + 1e-9)
    assert candidate.feasible
    assert all(0 <= rate <= HIGHEST for rate in candidate.rates.values())


@pytest.mark.parametrize("seed", range(4))
def test_sparsity_is_that_of_masks(
    real: tuple[nn.Module, Pruner, dict[str, Levels], float], seed: int
) -> None:
    network, pruner, levels, start = real
    point = dict(zip(levels, np.random.default_rng(seed).random(len(levels)), strict=True))
    candidate = ExactSpace(levels, 0.1 + 0.2 * seed, start).decode(point)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    pruner.rates = {
        name: candidate.rates[group]
        for group, names in pruner.groups.items()
        if names
        for name in names
    }
    pruner.apply(pruner.plan())
    assert sparsity(network) == pytest.approx(candidate.removed, abs=1e-12)
    network.load_state_dict(state)


@settings(deadline=None, max_examples=60)
@given(point=st.lists(st.floats(0.05, 1), min_size=6, max_size=6), low=st.floats(0.1, 0.6))
def test_more_is_removed_for_a_higher_target(
    real: tuple[nn.Module, Pruner, dict[str, Levels], float], point: list[float], low: float
) -> None:
    _, _, levels, start = real
    chosen = dict(zip(levels, point, strict=False))
    candidates = [ExactSpace(levels, target, start).decode(chosen) for target in (low, low + 0.05)]
    assert candidates[0].removed < candidates[1].removed
    # A group may move by a level or two to meet each target, so rates as a whole rise.
    assert sum(candidates[0].rates.values()) < sum(candidates[1].rates.values()) + 0.2


@settings(deadline=None, max_examples=60)
@given(scale=st.floats(0.1, 1), point=st.lists(st.floats(0.1, 1), min_size=6, max_size=6))
def test_only_the_direction_of_a_point_counts(
    real: tuple[nn.Module, Pruner, dict[str, Levels], float], scale: float, point: list[float]
) -> None:
    _, _, levels, start = real
    space = ExactSpace(levels, 0.3, start)
    chosen = dict(zip(levels, point, strict=False))
    rates = space.decode(chosen).rates
    shrunk = space.decode({name: value * scale for name, value in chosen.items()}).rates
    for name, group in levels.items():
        assert abs(group.of_rate(rates[name]) - group.of_rate(shrunk[name])) <= 1


def test_full_groups_leave_the_rest_to_the_others(
    real: tuple[nn.Module, Pruner, dict[str, Levels], float],
) -> None:
    _, _, levels, start = real
    point = dict.fromkeys(levels, 0.0) | {"g1": 1.0}
    candidate = ExactSpace(levels, 0.5, start).decode(point)
    assert candidate.rates["g1"] == pytest.approx(HIGHEST, abs=0.15)
    assert abs(candidate.removed - 0.5) < 0.01


def test_targets_out_of_reach(
    real: tuple[nn.Module, Pruner, dict[str, Levels], float],
) -> None:
    _, _, levels, start = real
    for target in (0.0, 0.99):
        with pytest.raises(InputError, match="out of reach"):
            ExactSpace(levels, target, start)
    with pytest.raises(InputError, match="out of reach"):
        FrontSpace(levels, 0.5, start, lowest_removed=0.0)


@settings(deadline=None, max_examples=30)
@given(point=st.lists(unit, min_size=6, max_size=6), size=st.floats(0.1, 0.6))
def test_front_points_have_the_size_they_ask_for(
    real: tuple[nn.Module, Pruner, dict[str, Levels], float], point: list[float], size: float
) -> None:
    _, _, levels, start = real
    space = FrontSpace(levels, 0.6, start, lowest_removed=0.1)
    assert space.variables[SIZE] == (0.1, 0.6)
    candidate = space.decode({**dict(zip(levels, point, strict=False)), SIZE: size})
    assert abs(candidate.removed - size) <= space.exact.tolerance * (1 + 1e-9)


def test_official_weights(reference: Path) -> None:
    network, pruner = detector("eresfd")
    state = read_weights(reference / "weights" / "clovaai_eresfd_16.safetensors")
    load_weights(network, state, source="official")
    levels, start = levels_of(pruner)
    space = ExactSpace(levels, 0.3, start)
    generator = np.random.default_rng(0)
    for _ in range(200):
        candidate = space.decode(dict(zip(levels, generator.random(len(levels)), strict=True)))
        assert abs(candidate.removed - 0.3) <= space.tolerance * (1 + 1e-9)
