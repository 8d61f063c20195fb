"""The networks that arcface_torch trains: sizes and names of their public weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from secateur.pruning import prune
from secateur.pruning.layers import prunable_layers, resolve_groups
from secateur.recognizers import iresnet, mobilefacenet
from secateur.recognizers.iresnet import IResNet
from secateur.recognizers.mobilefacenet import MobileFaceNet

FACES = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(1))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_iresnet_has_the_published_sizes_and_names() -> None:
    with torch.device("meta"):
        small, large = IResNet(18), IResNet(50)
    assert round(parameters(small) / 1e6, 1) == 24.0
    assert round(parameters(large) / 1e6, 1) == 43.6
    names = large.state_dict().keys()
    expected = {
        "conv1.weight", "prelu.weight", "layer1.0.downsample.1.running_var", "layer3.13.bn3.bias",
        "layer4.2.prelu.weight", "bn2.running_mean", "fc.bias", "features.weight",
    }  # fmt: skip
    assert expected <= names
    assert large.state_dict()["fc.weight"].shape == (512, 25088)


def test_mobilefacenet_has_the_published_names() -> None:
    network = MobileFaceNet()
    expected = {
        "layers.0.layers.0.weight", "layers.1.layers.2.weight", "layers.2.layers.1.layers.0.weight",
        "layers.3.layers.3.layers.2.layers.1.bias", "conv_sep.layers.0.weight",
        "features.layers.0.layers.0.weight", "features.layers.2.weight", "features.layers.3.bias",
    }  # fmt: skip
    assert expected <= network.state_dict().keys()
    assert network.eval()(FACES).shape == (1, 512)


def test_of_the_paper_it_has_about_a_million_parameters() -> None:
    """Table 1 of the paper: 0.99 million with 128 numbers."""
    assert parameters(MobileFaceNet(1, 128)) == pytest.approx(0.99e6, rel=0.15)


@pytest.mark.parametrize("module", [iresnet, mobilefacenet])
def test_every_layer_has_a_group(module: object) -> None:
    network = IResNet(18) if module is iresnet else MobileFaceNet()
    layers = prunable_layers(network)
    groups = resolve_groups(module.GROUPS["stages"], layers)
    assert sum(len(names) for names in groups.values()) == len(layers)


@pytest.mark.parametrize("build", [MobileFaceNet, pytest.param(IResNet, marks=pytest.mark.slow)])
def test_half_of_every_layer_goes(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = build(**({"depth": 18} if build is IResNet else {})).eval()
    slim, report = prune(network, FACES, "l1", 0.5)
    assert report.account.total.parameters_slim < 0.42 * report.account.total.parameters
    assert report.slimming.max_rel_diff < 1e-4
    assert slim(FACES).shape == (1, 512)
