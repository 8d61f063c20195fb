"""Every experiment composes, and its network and pruner can be built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import nn

from secateur.data.synthetic.face_set import write_drawn_set
from secateur.data.synthetic.identity_set import write_drawn_identities
from secateur.workflows.build import build_network, resolve_config
from secateur.workflows.config.pruning_config import build_schedule
from secateur.workflows.train.training import build_pruning, run_name, train

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted(
    str(path.relative_to(ROOT / "experiments").with_suffix(""))
    for path in (ROOT / "experiments").glob("**/*.yaml")
)
RECIPES = [name for name in EXPERIMENTS if "/pipeline" in name]  # their steps: test_pipeline.py
TRAININGS = [name for name in EXPERIMENTS if name not in RECIPES]
QUICK = ("bfpgm/eresfd_30", "wacvw2024/eresfd_l1_30", "taylor/squeezenet")
networks: dict[str, nn.Module] = {}


def composed(name: str) -> DictConfig:
    """The configuration, without the weights that only its user has and with small pictures."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        overrides = [f"experiment={name}", "weights=null", "data.input_size=64"]
        return resolve_config(compose("train", overrides))


def network_of(config: DictConfig) -> nn.Module:
    """The network; those of equal settings are made once."""
    key = str(config.model.network)
    if key not in networks:
        torch.manual_seed(0)
        networks[key] = build_network(config)[0]
    return networks[key]


def test_there_are_experiments() -> None:
    assert len(EXPERIMENTS) >= 32


@pytest.mark.parametrize("name", TRAININGS)
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


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn sets in the layouts that the experiments read."""
    root = tmp_path_factory.mktemp("drawn")
    write_drawn_set(root / "faces", n_train=4, n_val=2, seed=0)
    write_drawn_identities(root / "people", n_train=4, n_images=6, n_test=20)
    return root


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TRAININGS],
)
def test_experiment_takes_a_step(name: str, drawn: Path, tmp_path: Path) -> None:
    overrides = [
        *(f"experiment={name}", "debug=fast", "weights=null", f"output_dir={tmp_path}/run"),
        *("data.batch_size=4", "data.num_workers=0", "callbacks={}", "trainer=cpu"),
        *("trainer.limit_train_batches=1", "trainer.limit_val_batches=1"),
        "trainer.enable_progress_bar=false",
    ]
    if name.startswith("taylor/"):
        # the papers' sets cannot be drawn; this one has their pictures and pairs in LFW's layout
        overrides += ["data=lfw", f"data.root={drawn}/people", "data.centre=1.0"]
        overrides += ["data.input_size=40", "phases.finetune_epochs=0"]
        # held-out pictures, which the schedule of rates watches, come after the pairs
        overrides += ["trainer.limit_val_batches=1.0"]
    else:
        overrides += [f"data.root={drawn}/faces", "data.input_size=64"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides)
    train(config)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["model"] == config.model.name
    assert (summary["params_slim"] < summary["params_dense"]) == bool(config.pruning.criterion)
