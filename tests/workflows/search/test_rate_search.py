"""The rate search from the command line's configuration to rates.yaml, and on to more trials."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from safetensors.torch import save_file

from secateur.cost.macs import count_macs
from secateur.cost.parameters import count_parameters, sparsity
from secateur.detectors.eresfd import EResFD
from secateur.errors import InputError
from secateur.pruning.pruner import Pruner
from secateur.recognizers.classification_heads import SoftmaxHead
from secateur.recognizers.mobilefacenet import MobileFaceNet
from secateur.recognizers.squeezenet import SqueezeNet
from secateur.slimming.slim import slim
from secateur.workflows.config.pruning_config import group_rates, read_rates_file
from secateur.workflows.search.layer_sensitivity import sensitivity
from secateur.workflows.search.rate_search import search
from secateur.workflows.search.trial_setup import build_pruner, resolve_search_config

CONF = Path(__file__).parents[3] / "conf"
TARGET = ("target.sparsity=0.3",)


def composed(
    tmp_path: Path, *overrides: str, command: str = "search", faces: bool = True
) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(
            command,
            [
                f"paths.data={tmp_path}/data",
                f"output_dir={tmp_path}/run",
                f"weights={tmp_path}/weights.safetensors",
                *(("data.n_train=10", "data.n_val=2") if faces else ()),
                "holdout=0.4",
                *(("debug=search",) if command == "search" else ()),
                *(() if command != "search" or any("target" in o for o in overrides) else TARGET),
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
        search(composed(tmp_path, "target.sparsity=0.2"))


@pytest.mark.slow
def test_front_of_size_against_quality(tmp_path: Path, weights: Path) -> None:
    search(composed(tmp_path, "sampler=nsga2", "target.sparsity=0.6", "n_trials=10"))
    rows = list(csv.DictReader((tmp_path / "run" / "front.csv").open()))
    removed = [float(row["removed"]) for row in rows]
    quality = [float(row["objective"]) for row in rows]
    assert removed == sorted(removed)
    assert quality == sorted(quality, reverse=True)
    assert max(removed) <= 0.61


def test_what_cannot_be(tmp_path: Path, weights: Path) -> None:
    for override, message in (
        ("n_trials=0", "n_trials must be at least 1"),
        ("quantity=macs", r"target\.macs=VALUE"),
        ("target=0.3", r"it is target\.sparsity=0\.3 now"),
        ("target.macs=1G", "nothing to prune"),
        ("target.params=50 apples", "an amount such as 50000"),
        ("pruning=taylor", "scores come first"),
        ("pruning.scope=global", "lets one ranking decide"),
        ("objective=verification", "is for recognisers"),
        ("target.sparsity=0.99", "out of reach"),
    ):
        folder = tmp_path / override.partition("=")[0]
        with pytest.raises(InputError, match=message):
            search(composed(tmp_path, override, f"output_dir={folder}"))
    published = ("space=published", "target.macs=0.5", f"output_dir={tmp_path}/published")
    with pytest.raises(InputError, match=r"knows target\.sparsity"):
        search(composed(tmp_path, *published))


DETECTOR_SEARCHES = {
    "gp": ("sampler=gp", "n_trials=6"),
    "ap": ("objective=ap", "objective.pictures=2"),
    "steps": ("train_steps=2", "objective.train_batch_size=2"),
    "epoch": ("train_steps=epoch", "objective.train_batch_size=4"),
    "coupled macs": ("target.macs=0.7", "pruning.scope=coupled"),
    "amount": ("target.params=60000", "pruning.scope=coupled"),
}


@pytest.mark.parametrize("kind", DETECTOR_SEARCHES)
def test_every_kind_of_search_runs(tmp_path: Path, weights: Path, kind: str) -> None:
    overrides = ("n_trials=3", *DETECTOR_SEARCHES[kind])
    found = search(composed(tmp_path, *overrides))
    assert found is not None
    record = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert record["trials_complete"] == (6 if kind == "gp" else 3)
    assert record["feasible_share"] == 1.0
    removed = 1 - 60_000 / 92_208 if kind == "amount" else 0.3
    assert record["best_removed"] == pytest.approx(removed, abs=0.03)
    assert set(record["rates"]) == {f"g{number}" for number in range(1, 7)}


def test_sensitivity_of_a_detector(tmp_path: Path, weights: Path) -> None:
    settings = (
        "try_rates=[0.5]",
        "search_size=64",
        "objective.batch_size=2",
        "objective.batches=1",
    )
    sensitivity(
        composed(
            tmp_path,
            *(*settings, "objective.calibration_batches=1", "progress=false"),
            command="sensitivity",
        )
    )
    rows = list(csv.DictReader((tmp_path / "run" / "sensitivity.csv").open()))
    assert {row["part"] for row in rows if row["kind"] == "group"} == {f"g{n}" for n in range(1, 7)}
    assert all(float(row["loss"]) > 0 for row in rows)
    assert (tmp_path / "run" / "plots" / "sensitivity_groups.png").stat().st_size > 1000
    assert (tmp_path / "run" / "plots" / "sensitivity_layers_map.png").stat().st_size > 1000


def test_sensitivity_finds_rates_of_layers_for_two_sizes(tmp_path: Path, weights: Path) -> None:
    kept = ["loc.*", "conf.*", "base.conv*", "base.m0.FEM_*", *(f"base.m0.b2_{n}.*" for n in "123")]
    config = composed(
        tmp_path,
        "try_rates=[0.9]",
        "search_size=64",
        "objective.batch_size=2",
        "objective.batches=1",
        "objective.calibration_batches=0",
        f"pruning.exclude=[{','.join(kept)}]",
        "target.sparsity=0.2",
        "target.params=0.85",
        "progress=false",
        command="sensitivity",
    )
    sensitivity(config)
    path = tmp_path / "run" / "rates.yaml"
    settings, rates = read_rates_file(path)
    assert settings is not None
    assert set(settings.groups) == set(rates)
    network = EResFD()
    pruner = Pruner(
        network, (torch.zeros(1, 3, 64, 64),), replace(settings, rates=rates, mask_batchnorm=True)
    )
    pruner.apply(pruner.plan())
    assert sparsity(network) >= 0.2
    slimmed = slim(network.eval(), (torch.zeros(1, 3, 64, 64),)).model
    assert count_parameters(slimmed) <= 0.85 * 92208


def test_sensitivity_finds_rates_of_layers_that_go_together(tmp_path: Path, weights: Path) -> None:
    config = composed(
        tmp_path,
        "try_rates=[0.75]",
        "search_size=64",
        "objective.batch_size=2",
        "objective.batches=1",
        "objective.calibration_batches=0",
        "pruning.scope=coupled",
        "pruning.exclude=[loc.*,conf.*,base.conv*,base.m0.FEM_*]",
        "target.macs=0.8",
        "progress=false",
        command="sensitivity",
    )
    sensitivity(config)
    settings, rates = read_rates_file(tmp_path / "run" / "rates.yaml")
    assert settings is not None
    assert settings.scope == "coupled"
    assert any(len(layers) > 1 for layers in settings.groups.values())
    network, inputs = EResFD().eval(), (torch.zeros(1, 3, 64, 64),)
    dense = count_macs(network, inputs).total
    pruner = Pruner(network, inputs, replace(settings, rates=rates, mask_batchnorm=True))
    pruner.apply(pruner.plan())
    assert count_macs(slim(network, inputs).model, inputs).total <= 0.8 * dense


@pytest.fixture
def recognizer(tmp_path: Path) -> tuple[str, ...]:
    """Overrides for weights of a SqueezeNet and its head, and for data of a few people."""
    torch.manual_seed(0)
    parts = {"network.": SqueezeNet().state_dict(), "head.": SoftmaxHead(1000, 6).state_dict()}
    path = tmp_path / "weights.safetensors"
    save_file({f"{p}{k}": v.contiguous() for p, s in parts.items() for k, v in s.items()}, path)
    people = ("++data.n_train=6", "++data.n_images=5", "++data.n_test=20", "search_size=40")
    return ("model=squeezenet", *people, "data.num_workers=0")


PEOPLE_SEARCHES = {
    "loss": ("objective=loss", "train_steps=1", "objective.train_batch_size=4"),
    "verification": ("objective=verification", "objective.identities=0.5"),
}


@pytest.mark.parametrize("kind", PEOPLE_SEARCHES)
def test_search_of_a_recogniser(tmp_path: Path, recognizer: tuple[str, ...], kind: str) -> None:
    overrides = (*recognizer, *PEOPLE_SEARCHES[kind], "n_trials=2", "pruning.scope=coupled")
    found = search(composed(tmp_path, *overrides, "target.params=0.5", faces=False))
    assert found is not None
    assert found <= 0
    record = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert record["best_removed"] == pytest.approx(0.5, abs=0.01)
    assert set(record["rates"]) == {"stem", "fire2_3", "fire4_5", "fire6_9"}
    settings, rates = read_rates_file(tmp_path / "run" / "rates.yaml")
    assert settings is not None
    assert (settings.scope, settings.exclude) == ("coupled", ["classifier.1"])
    assert rates == record["rates"]


def test_a_recogniser_made_for_pictures_of_one_size_is_traced_at_it(tmp_path: Path) -> None:
    network = MobileFaceNet(scale=1, blocks=(1, 1, 1), input_size=40)
    save_file(dict(network.state_dict()), tmp_path / "weights.safetensors")
    overrides = ("model=mobilefacenet", "model.network.scale=1", "model.network.blocks=[1,1,1]")
    config = composed(tmp_path, *overrides, "search_size=40", faces=False)
    assert build_pruner(resolve_search_config(config)).layers


@pytest.mark.parametrize("figure", ["loss", "EER"])
def test_sensitivity_of_a_recogniser(
    tmp_path: Path, recognizer: tuple[str, ...], figure: str
) -> None:
    kind = "loss" if figure == "loss" else "verification"
    settings = (
        f"objective={kind}",
        "objective.identities=0.5",
        "try_rates=[0.5]",
        "progress=false",
    )
    if kind == "loss":
        settings = (settings[0], *settings[2:])
    sensitivity(composed(tmp_path, *recognizer, *settings, command="sensitivity", faces=False))
    rows = list(csv.DictReader((tmp_path / "run" / "sensitivity.csv").open()))
    assert next(row["part"] for row in rows if row["kind"] == "group") == "stem"
    assert all(float(row[figure]) >= 0 for row in rows)


def test_a_head_for_other_people_is_of_no_use(tmp_path: Path, recognizer: tuple[str, ...]) -> None:
    others = (*recognizer, "++data.n_train=7")
    with pytest.raises(InputError, match="needs the head that was trained"):
        search(composed(tmp_path, *others, faces=False))
