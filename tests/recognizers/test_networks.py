from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torchvision.models
from torch import nn

from secateur.pruning.artifact import load_slim, save_slim
from secateur.pruning.layers import prunable_layers, resolve_groups
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.recognizers import mobilenet_v2, resnet50, squeezenet
from secateur.recognizers.mobilenet_v2 import MobileNetV2
from secateur.recognizers.resnet50 import ResNet50
from secateur.recognizers.squeezenet import SqueezeNet
from secateur.slimming.slim import slim

NETWORKS = [
    pytest.param(SqueezeNet, squeezenet, id="squeezenet"),
    pytest.param(MobileNetV2, mobilenet_v2, id="mobilenet_v2"),
    pytest.param(ResNet50, resnet50, id="resnet50", marks=pytest.mark.slow),
]
SLIMMED = [
    pytest.param(SqueezeNet, squeezenet, 0.7, id="squeezenet-0.7"),
    *(
        pytest.param(build, module, rate, marks=pytest.mark.slow, id=f"{build.__name__}-{rate}")
        for build, module in (
            (SqueezeNet, squeezenet),
            (MobileNetV2, mobilenet_v2),
            (ResNet50, resnet50),
        )
        for rate in (0.1, 0.3, 0.5, 0.7)
    ),
]


def trained(build: Callable[[], nn.Module]) -> nn.Module:
    """A network whose batch norms have seen something."""
    torch.manual_seed(0)
    network = build().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) * 0.1
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network


def count(network: nn.Module, *kinds: type[nn.Module]) -> int:
    return sum(
        parameter.numel()
        for module in network.modules()
        if isinstance(module, kinds)
        for parameter in module.parameters(recurse=False)
    )


def test_squeezenet_has_the_published_convolutions() -> None:
    network = SqueezeNet()
    assert count(network, nn.Conv2d) == 1_235_496  # 1.24 M
    assert count(network, nn.BatchNorm2d) == 7_888
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 26


def test_mobilenet_has_the_published_parameters_with_a_classifier() -> None:
    body = sum(parameter.numel() for parameter in MobileNetV2().parameters())
    assert body == 2_223_872
    assert body + 1280 * 1000 + 1000 == 3_504_872  # 3.5 M


def test_resnet_has_the_published_parameters_without_a_classifier() -> None:
    assert sum(parameter.numel() for parameter in ResNet50().parameters()) == 23_508_032  # 23.5 M


@pytest.mark.parametrize(("build", "module"), NETWORKS)
def test_embedding_has_its_size_at_113_and_other_sizes(
    build: type[SqueezeNet | MobileNetV2 | ResNet50], module: ModuleType
) -> None:
    network = build().eval()
    for side in (40, 113):
        with torch.inference_mode():
            assert network(torch.zeros(2, 3, side, side)).shape == (2, build.embedding_size)


@pytest.mark.parametrize(
    ("build", "original"),
    [(MobileNetV2, torchvision.models.mobilenet_v2), (ResNet50, torchvision.models.resnet50)],
)
def test_features_are_those_of_torchvision(
    build: type[MobileNetV2 | ResNet50], original: Callable[[], nn.Module]
) -> None:
    network, theirs = build(stride=2).eval(), original().eval()
    for name in ("fc", "classifier"):
        if hasattr(theirs, name):
            setattr(theirs, name, nn.Identity())
    network.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), theirs(images))


@pytest.mark.parametrize(("build", "module"), NETWORKS)
def test_groups_fit_and_hold_every_layer_but_the_head(
    build: Callable[[], nn.Module], module: ModuleType
) -> None:
    layers = prunable_layers(build(), module.HEADS)
    groups = resolve_groups(module.GROUPS["stages"], prunable_layers(build()))
    grouped = {name for names in groups.values() for name in names}
    assert layers.keys() <= grouped


@pytest.mark.parametrize(("build", "module", "rate"), SLIMMED)
@pytest.mark.parametrize("scope", ["independent", "coupled"])
def test_slims_losslessly_and_keeps_the_embedding(
    build: Callable[[], nn.Module], module: ModuleType, rate: float, scope: str
) -> None:
    network = trained(build)
    example = torch.zeros(1, 3, 40, 40)
    pruner = Pruner(
        network, (example,), PruningSettings("l1", rate, exclude=module.HEADS, scope=scope)
    )
    pruner.apply(pruner.plan())
    slimmed, _ = slim(network, (example,))
    images = torch.randn(2, 3, 56, 56)
    with torch.inference_mode():
        expected, found = network(images), slimmed(images)
    assert found.shape == expected.shape
    assert expected.abs().max() > 1e-3 or rate > 0.5
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    removed = 1 - sum(p.numel() for p in slimmed.parameters()) / sum(
        p.numel() for p in network.parameters()
    )
    assert removed > rate / 2


def test_slim_network_is_rebuilt_from_its_files(tmp_path: Path) -> None:
    network = trained(SqueezeNet)
    example = torch.zeros(1, 3, 40, 40)
    pruner = Pruner(network, (example,), PruningSettings("l1", 0.5, exclude=squeezenet.HEADS))
    pruner.apply(pruner.plan())
    slimmed, _ = slim(network, (example,))
    save_slim(tmp_path, slimmed, {"name": "squeezenet", "arguments": {"stride": 1}})
    again = load_slim(tmp_path, {"squeezenet": SqueezeNet})
    images = torch.randn(1, 3, 40, 40)
    with torch.inference_mode():
        assert torch.equal(slimmed.eval()(images), again(images))
