"""Tests of the published space against the golden points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from secateur.detectors.eresfd import GROUPS, EResFD
from secateur.detectors.extd import EXTD
from secateur.detectors.extd import GROUPS as EXTD_GROUPS
from secateur.errors import InputError
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.pruning.targets import NominalSparsity
from secateur.search.published_space import PublishedSpace, highest_rate, sparsity_penalty
from secateur.search.rate_levels import Levels, make_levels
from secateur.search.sampling import StartupPoints
from secateur.weights.detector_weights import load_weights, read_weights

WEIGHTS = {"eresfd": (5.0, 1.0), "extd": (1.0, 5.0)}


def published_levels(reference: Path, model: str) -> tuple[dict[str, Levels], float]:
    network = EResFD("bfpgm") if model == "eresfd" else EXTD(64)
    path = reference / "weights" / f"bfpgm_{model}_original.safetensors"
    load_weights(network, read_weights(path), source=path.name)
    pruner = Pruner(
        network,
        (torch.zeros(1, 3, 64, 64),),
        PruningSettings(
            "fpgm",
            rate=0.0,
            groups=(GROUPS if model == "eresfd" else EXTD_GROUPS)["script"],
            mask_batchnorm=False,
        ),
    )
    weigh = NominalSparsity(network, pruner.layers, {})
    scores = pruner.score()
    levels = {
        name: make_levels(layers, scores, weigh, 0.98) for name, layers in pruner.groups.items()
    }
    return levels, weigh({})


@pytest.mark.parametrize("model", ["eresfd", "extd"])
def test_golden_points(reference: Path, model: str) -> None:
    text = (reference / "golden" / "pruning" / f"bfpgm_{model}_bo_objective.json").read_text()
    rows: list[dict[str, Any]] = json.loads(text)["rows"]
    levels, start = published_levels(reference, model)
    penalty_weight, shortfall_weight = WEIGHTS[model]
    assert len(rows) == 150
    numbers: dict[float, int] = {}
    for row in rows:
        target = row["target"]
        space = PublishedSpace(levels, target, start, penalty_weight, shortfall_weight)
        number = numbers.get(target, 0)
        numbers[target] = number + 1
        point = StartupPoints(space.variables, 0, space.probe())(number)
        assert list(point.values()) == pytest.approx(row["rates"], abs=1e-15)
        candidate = space.decode(point)
        assert candidate.removed == pytest.approx(row["sparsity"], abs=1e-12)
        assert candidate.penalty == pytest.approx(penalty_weight * row["penalty"], abs=1e-9)
        assert candidate.feasible == (row["penalty"] < 10)
        objective = candidate.objective(-1.5)
        assert objective == pytest.approx(row["objective_if_val_loss_1.5"], abs=1e-9)


@pytest.mark.parametrize(
    ("sparsity", "penalty"),
    [(0.2599, 100), (0.2601, 0.0399), (0.29, 0.01), (0.3, 0), (0.3399, 0), (0.3401, 100)],
)
def test_penalty(sparsity: float, penalty: float) -> None:
    assert sparsity_penalty(sparsity, 0.3) == pytest.approx(penalty, abs=1e-9)


def test_bounds() -> None:
    assert highest_rate(0.3) == pytest.approx(0.5)
    assert highest_rate(0.9) == 0.98


def test_target_is_a_fraction() -> None:
    with pytest.raises(InputError, match="target must be between 0 and 1"):
        PublishedSpace({}, 1.0)
