"""Every experiment composes, and its network and pruner can be built."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import nn

from secateur.workflows.build import build_network, build_schedule, settle
from secateur.workflows.train import build_pruning, run_name

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted(
    str(path.relative_to(ROOT / "experiments").with_suffix(""))
    for path in (ROOT / "experiments").glob("**/*.yaml")
)
networks: dict[str, nn.Module] = {}


def composed(name: str) -> DictConfig:
    """The configuration, without the weights that only its user has and with small pictures."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        overrides = [f"experiment={name}", "weights=null", "data.input_size=64"]
        return settle(compose("train", overrides))


def network_of(config: DictConfig) -> nn.Module:
    """The network; those of equal settings are made once."""
    key = str(config.model.network)
    if key not in networks:
        torch.manual_seed(0)
        networks[key] = build_network(config)[0]
    return networks[key]


def test_there_are_experiments() -> None:
    assert len(EXPERIMENTS) >= 32


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_can_be_built(name: str) -> None:
    config = composed(name)
    assert str(config.model.name) in run_name(config)
    pruner, schedule = build_pruning(config, network_of(config))
    if config.pruning.criterion is None:
        assert pruner is None
        assert int(config.phases.dense_epochs) > 0
        return
    assert pruner is not None
    assert schedule == build_schedule(config)
    assert pruner.layers
