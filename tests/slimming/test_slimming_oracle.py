"""Sizes against Torch-Pruning, which cuts one group of channels by its own dependency graph."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2, resnet18

from secateur.pruning.coupled_sets import find_coupled_sets
from secateur.slimming.slim import slim
from tests.pruning.networks import Concatenation, Depthwise, Residual, Transposed

torch_pruning = pytest.importorskip("torch_pruning")
IMAGES = torch.zeros(1, 3, 32, 32)


def cut_by_torch_pruning(model: nn.Module, layer: str, filters: Sequence[int]) -> nn.Module:
    cut = copy.deepcopy(model)
    graph = torch_pruning.DependencyGraph().build_dependency(cut, IMAGES)
    module = cut.get_submodule(layer)
    prune = torch_pruning.prune_conv_out_channels
    if isinstance(module, nn.ConvTranspose2d):
        prune = torch_pruning.function.prune_conv_out_channels
    graph.get_pruning_group(module, prune, idxs=list(filters)).prune()
    return cut


@torch.no_grad()
def cut_by_sets(model: nn.Module, layer: str, filters: Sequence[int]) -> nn.Module:
    masked = copy.deepcopy(model)
    for channel_set in find_coupled_sets(masked, IMAGES).sets:
        if any((layer, index) in channel_set.filters for index in filters):
            for name, index in (*channel_set.filters, *channel_set.norms):
                module = masked.get_submodule(name)
                transposed = isinstance(module, nn.ConvTranspose2d)
                module.weight.transpose(0, int(transposed))[index] = 0
                if module.bias is not None:
                    module.bias[index] = 0
    return slim(masked, IMAGES).model


CASES = [
    (Residual, "stem", (1, 2)),
    (Residual, "inner", (0, 5)),
    (Concatenation, "a", (3,)),
    (Depthwise, "expand", (0, 4, 7)),
    (Transposed, "first", (1, 2)),
    pytest.param(resnet18, "layer1.0.conv1", (3, 60), marks=pytest.mark.slow),
    pytest.param(resnet18, "layer2.0.conv2", (0, 1, 127), marks=pytest.mark.slow),
    pytest.param(mobilenet_v2, "features.3.conv.2", (5, 6), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("build", "layer", "filters"), CASES)
def test_same_shapes(build: type[nn.Module], layer: str, filters: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = build().eval()
    ours = cut_by_sets(model, layer, filters).state_dict()
    theirs = cut_by_torch_pruning(model, layer, filters).state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
