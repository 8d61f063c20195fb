from __future__ import annotations

import copy

import torch
from torch import nn

from secateur.pruning.pruner import Pruner
from secateur.pruning.sensitivity import measure_sensitivity
from secateur.pruning.settings import PruningSettings
from tests.pruning.networks import Residual

IMAGES = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def test_each_part_is_pruned_alone_and_the_network_left_as_it_was() -> None:
    torch.manual_seed(0)
    model = Residual()
    before = copy.deepcopy(model.state_dict())
    pruner = Pruner(model, (IMAGES,), PruningSettings("l1", 0.0))
    seen: list[dict[str, int]] = []

    def evaluate(network: nn.Module) -> float:
        zeros = {
            name: int((~layer.weight.flatten(1).any(1)).sum())
            for name, layer in pruner.layers.items()
        }
        seen.append({name: count for name, count in zeros.items() if count})
        with torch.no_grad():
            network.head.weight.add_(1.0)  # an evaluation may change the network
            return float(network(IMAGES).mean())

    parts = {"stream": ["stem", "outer"], "inner": ["inner"]}
    points = list(measure_sensitivity(pruner, parts, [0.5, 0.25], evaluate))
    assert [(point.part, point.rate) for point in points] == [
        ("", 0.0),
        ("stream", 0.25),
        ("stream", 0.5),
        ("inner", 0.25),
        ("inner", 0.5),
    ]
    assert seen == [
        {},
        {"stem": 2, "outer": 2},
        {"stem": 4, "outer": 4},
        {"inner": 1},
        {"inner": 3},
    ]
    assert points[0].sparsity == 0 < points[1].sparsity < points[2].sparsity
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
