"""Settings of a pruning from configurations and from files of rates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import nn

from secateur.errors import InputError
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.workflows.build import resolve_config
from secateur.workflows.config.pruning_config import (
    model_tables,
    pruning_groups,
    pruning_settings,
    read_rates_file,
    size_target,
    tell_dead_filters,
)

CONF = Path(__file__).parents[3] / "conf"
NETWORKS = ("eresfd", "extd_32", "extd_48", "extd_64", "mobilenet_v2", "resnet50", "squeezenet")


def test_dead_filters_of_given_weights_are_told_with_the_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 4, 1))
    assert isinstance(network[0].weight, torch.Tensor)
    with torch.no_grad():
        network[0].weight[:2] = 1e-41
    pruner = Pruner(network, (torch.zeros(1, 3, 8, 8),), PruningSettings("l1"))
    tell_dead_filters(composed(), pruner)
    assert not caplog.text  # from scratch nothing is dead but by chance
    tell_dead_filters(composed("weights=folder/official.safetensors"), pruner)
    (line,) = caplog.messages
    assert line.startswith("official.safetensors: 2 of 12 filters are dead")
    assert line.endswith("pruning.remove_dead=true removes them first, within the rate")


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


@pytest.mark.parametrize("model", NETWORKS)
def test_a_model_declares_the_names_of_its_groups(model: str) -> None:
    config = composed(f"model={model}")
    assert list(config.rates) == list(pruning_groups(config))
    assert all(list(table) == list(config.rates) for table in model_tables(config)[0].values())


def test_a_rate_of_a_group_needs_no_plus() -> None:
    config = composed("model=squeezenet", "rates.stem=0.2")
    assert pruning_settings(config).rates == {"stem": 0.2}


def test_a_rates_file_brings_all_settings_of_its_search(tmp_path: Path) -> None:
    path = tmp_path / "rates.yaml"
    settings = {"criterion": "l1", "rate": 0.0, "scope": "independent", "min_keep": 0.2}
    settings |= {"align": 4, "exclude": [], "mask_batchnorm": False, "groups": {"a": ["base.0.*"]}}
    path.write_text(yaml.safe_dump({"model": "x", "settings": settings, "rates": {"a": 0.5}}))
    config = resolve_config(composed("model=extd_64", f"rates={path}"))
    found = pruning_settings(config)
    assert (found.criterion, found.rate, found.align, found.min_keep) == ("l1", 0.0, 4, 0.2)
    assert (found.mask_batchnorm, list(found.exclude)) == (False, [])
    assert found.rates == {"a": 0.5}
    # the configuration that is saved needs the file no more
    path.unlink()
    assert pruning_settings(config) == found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- 1", "mapping from group to rate"),
        ("{rates: {a: much}}", "rate of group a"),
        ("{rates: {a: 0.5}, settings: {criterion: fpgm, trick: 1}}", "unknown key 'trick'"),
        ("{rates: {a: 0.5}, settings: {align: x}}", "align='x'"),
        ("{rates: {a: 0.5}, settings: {criterion: fpg}}", "did you mean fpgm"),
        ("{rates: {a: 0.5}, _target_: os.system}", "unknown key _target_"),
        ("{a: !!python/object/apply:os.system [true]}", "is not valid YAML"),
    ],
)
def test_what_a_rates_file_cannot_be(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_rates_file(path)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (0.3, r"target=0.3 does not say of what: it is target\.sparsity=0\.3 now"),
        ("0.3M", r"target\.sparsity=0\.3"),
    ],
)
def test_the_old_form_of_a_target_names_the_new_one(target: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        size_target(DictConfig({"target": target}))


def test_the_old_quantity_is_turned_round() -> None:
    with pytest.raises(InputError, match=r"target\.macs=0\.4 now"):
        size_target(DictConfig({"target": 0.6, "quantity": "macs"}))
