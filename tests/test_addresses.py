"""Addresses that configurations and files on disk hold lead to something: they must not move."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_object

from secateur.weights.architectures import BUILDERS

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "tests" / "fixtures" / "first_house"
# Configurations of launchers name packages that are installed on demand.
OPTIONAL = ("hydra_plugins.hydra_joblib_launcher.", "hydra_plugins.hydra_submitit_launcher.")


def targets_of(node: Any) -> Iterator[str]:
    """Every ``_target_`` below a node of YAML."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "_target_" and isinstance(value, str):
                yield value
            else:
                yield from targets_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets_of(value)


def addresses() -> dict[str, list[str]]:
    """Address -> files that hold it."""
    found: dict[str, list[str]] = {}
    for folder in (ROOT / "conf", ROOT / "experiments", FIXTURES):
        for path in sorted(folder.rglob("*.yaml")):
            for target in targets_of(yaml.safe_load(path.read_text(encoding="utf-8"))):
                found.setdefault(target, []).append(str(path.relative_to(ROOT)))
    return found


# As they were before the great move: what saved configurations may hold for ever.
FIRST_HOUSE = (
    "callbacks.pruning_curve.PruningCurve",
    "callbacks.sample_pictures.SamplePictures",
    "callbacks.trial_reporter.TrialReporter",
    "datamodules.demo_faces.DemoFacesData",
    "datamodules.demo_identities.DemoIdentitiesData",
    "datamodules.identities.IdentitiesData",
    "datamodules.pose_templates.PoseTemplatesData",
    "datamodules.record_io.RecordIOData",
    "datamodules.widerface.WiderFaceData",
    "hydra_plugins.secateur_sweeper.study_sweeper.StudySweeper",
    "secateur.detectors.eresfd.EResFD",
    "secateur.detectors.extd.EXTD",
    "secateur.detectors.protocols.LongerSide",
    "secateur.detectors.protocols.MultiScale",
    "secateur.detectors.protocols.SingleScale",
    "secateur.detectors.task.DetectorTask",
    "secateur.learning_rate.RatesOnPlateau",
    "secateur.learning_rate.steps",
    "secateur.learning_rate.warmup_cosine",
    "secateur.recognizers.mobilenet_v2.MobileNetV2",
    "secateur.recognizers.resnet50.ResNet50",
    "secateur.recognizers.squeezenet.SqueezeNet",
    "secateur.recognizers.task.RecognizerTask",
)


@pytest.mark.parametrize("address", sorted({*addresses(), *FIRST_HOUSE}))
def test_address_leads_to_something(address: str) -> None:
    if address.startswith(OPTIONAL):
        pytest.importorskip(address.rpartition(".")[0])
    assert callable(get_object(address)), addresses().get(address)


def test_saved_configurations_hold_addresses() -> None:
    """Else the list above would be empty without anybody noticing."""
    found = addresses()
    saved = {
        target
        for target, files in found.items()
        if any(file.startswith("tests/fixtures/first_house/") for file in files)
    }
    assert {"secateur.detectors.task.DetectorTask", "datamodules.demo_faces.DemoFacesData"} <= saved
    assert len(found) > 20


@pytest.mark.parametrize("name", ["eresfd", "extd", "mobilenetv2", "resnet50", "squeezenet"])
def test_architecture_of_a_slim_network_is_known(name: str) -> None:
    assert callable(BUILDERS[name])


def test_architectures_of_saved_networks_are_known() -> None:
    files = sorted(FIXTURES.rglob("model.json"))
    names = {json.loads(path.read_text())["architecture"]["name"] for path in files}
    assert names == {"eresfd", "mobilenetv2", "squeezenet"}
    assert names <= set(BUILDERS)
