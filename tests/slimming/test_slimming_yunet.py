"""YuNet becomes smaller exactly: coupled sets, counts and outputs are the golden ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur.cost.macs import count_macs
from secateur.detectors.yunet import HEADS, YuNet
from secateur.pruning.prune import prune
from secateur.slimming.slim import slim
from secateur.weights.detector_weights import load_weights, read_weights

IMAGES = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255


def official(reference: Path, name: str) -> YuNet:
    network = YuNet() if name == "yunet_n" else YuNet(early_width=32, head_units=False)
    path = reference / f"weights/yunet/libfacedetection_{name}.safetensors"
    load_weights(network, read_weights(path), name)
    return network.eval()


def structure(reference: Path, name: str) -> dict[str, Any]:
    path = reference / "golden/yunet/pruning/yunet_structure.json"
    content: dict[str, Any] = json.loads(path.read_text())[name]
    return content


@torch.no_grad()
def mask_channels(network: nn.Module, coupled: dict[str, Any], dead: Tensor) -> None:
    """Zero the filters of all producers of some channels; batch norms stay."""
    units = [network.get_submodule(name) for name in coupled["producers"]]
    layers = [getattr(unit, part) for unit in units for part in ("conv1", "conv2")]
    if coupled["standalone_conv"]:
        layers = [network.get_submodule(coupled["standalone_conv"].split("|")[0])]
    for layer in layers:
        layer.weight[dead] = 0
        layer.bias[dead] = 0


@pytest.mark.parametrize("name", ["yunet_n", "yunet_s"])
def test_every_fourth_channel_of_all_coupled_sets(reference: Path, name: str) -> None:
    network, golden = official(reference, name), structure(reference, name)
    for coupled in golden["coupling_sets"]:
        mask_channels(network, coupled, torch.arange(coupled["width"]) % 4 == 0)
    result = slim(network, IMAGES)
    assert result.report.parameters_after == golden["quarter_removed"]["params"]
    assert (
        count_macs(result.model, torch.zeros(1, 3, 320, 320)).total
        == (golden["quarter_removed"]["macs320"])
    )
    with torch.no_grad():
        for slimmed, masked in zip(result.model(IMAGES), network(IMAGES), strict=True):
            torch.testing.assert_close(slimmed, masked, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(16))
def test_one_channel_of_one_set(reference: Path, index: int) -> None:
    network, golden = official(reference, "yunet_n"), structure(reference, "yunet_n")
    coupled = golden["coupling_sets"][index]
    mask_channels(network, coupled, torch.arange(coupled["width"]) == 3)
    result = slim(network, IMAGES)
    removed = result.report.parameters_before - result.report.parameters_after
    assert removed == coupled["params_per_channel"], coupled["set"]


def test_pruning_to_an_amount_of_parameters_keeps_the_heads(reference: Path) -> None:
    network = official(reference, "yunet_n")
    small, report = prune(network, IMAGES, target={"params": 50_000}, rate=0.3, exclude=HEADS)
    parameters = sum(parameter.numel() for parameter in small.parameters())
    assert parameters == pytest.approx(50_000, rel=0.005)  # as near as a filter allows
    assert not any("multi_level_kps" in layer for layer in report.keep)
    assert [output.shape for output in small(IMAGES)] == [
        output.shape for output in network(IMAGES)
    ]
