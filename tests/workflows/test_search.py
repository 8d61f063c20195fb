"""The rate search from the command line's configuration to rates.yaml, and on to more trials."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from safetensors.torch import save_file

from secateur.detectors.eresfd import EResFD
from secateur.errors import InputError
from secateur.workflows.build import group_rates
from secateur.workflows.search import search

CONF = Path(__file__).parents[2] / "conf"


def composed(tmp_path: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(
            "search",
            [
                f"paths.data={tmp_path}/data",
                f"output_dir={tmp_path}/run",
                f"weights={tmp_path}/weights.safetensors",
                "data.n_train=10",
                "data.n_val=2",
                "holdout=0.4",
                "debug=search",
                *overrides,
            ],
        )


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in EResFD().state_dict().items()}, path)
    return path


@pytest.mark.parametrize("space", ["exact", "published", "front"])
@pytest.mark.parametrize("sampler", ["gp", "tpe", "random"])
def test_configurations_compose(tmp_path: Path, space: str, sampler: str) -> None:
    config = composed(tmp_path, f"space={space}", f"sampler={sampler}")
    assert config.space.kind == space
    assert config.sampler.kind == sampler


def test_nsga2_searches_the_front(tmp_path: Path) -> None:
    assert composed(tmp_path, "sampler=nsga2").space.kind == "front"


@pytest.mark.slow
def test_search_and_more_of_it(tmp_path: Path, weights: Path) -> None:
    folder = tmp_path / "run"
    first = search(composed(tmp_path, "n_trials=5"))
    again = search(composed(tmp_path, "n_trials=8"))
    assert first is not None
    assert again is not None
    assert again >= first
    rows = list(csv.DictReader((folder / "trials.csv").open()))
    assert [int(row["number"]) for row in rows] == list(range(8))
    assert all(row["state"] == "complete" for row in rows)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["feasible_share"] == 1.0
    for name in ("history", "importance", "front"):
        assert (folder / "plots" / f"{name}.png").stat().st_size > 1000
    config = composed(tmp_path)
    config = DictConfig({"rates": str(folder / "rates.yaml"), "model": config.model})
    assert group_rates(config) == summary["rates"]
    with pytest.raises(InputError, match="another configuration"):
        search(composed(tmp_path, "target=0.2"))


@pytest.mark.slow
def test_front_of_size_against_quality(tmp_path: Path, weights: Path) -> None:
    search(composed(tmp_path, "sampler=nsga2", "target=0.6", "n_trials=10"))
    rows = list(csv.DictReader((tmp_path / "run" / "front.csv").open()))
    removed = [float(row["removed"]) for row in rows]
    quality = [float(row["objective"]) for row in rows]
    assert removed == sorted(removed)
    assert quality == sorted(quality, reverse=True)
    assert max(removed) <= 0.61


def test_what_cannot_be(tmp_path: Path, weights: Path) -> None:
    for override, message in (
        ("n_trials=0", "n_trials must be at least 1"),
        ("quantity=weight", "quantity must be"),
        ("target=0.99", "out of reach"),
    ):
        folder = tmp_path / override.partition("=")[0]
        with pytest.raises(InputError, match=message):
            search(composed(tmp_path, override, f"output_dir={folder}"))
