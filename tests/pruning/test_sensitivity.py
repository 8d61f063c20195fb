from __future__ import annotations

import copy

import torch
from torch import nn

from secateur.pruning.pruner import Pruner
from secateur.pruning.sensitivity import layers_that_prune_alone, measure_sensitivity
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


def test_layers_that_write_into_one_sum_are_pruned_together() -> None:
    pruner = Pruner(Residual(), (IMAGES,), PruningSettings("l1", 0.0, scope="coupled"))
    assert layers_that_prune_alone(pruner) == {"stem": ["stem", "outer"], "inner": ["inner"]}
    alone = Pruner(Residual(), (IMAGES,), PruningSettings("l1", 0.0, exclude=("head",)))
    assert layers_that_prune_alone(alone) == {n: [n] for n in ("stem", "inner", "outer")}


def test_coupled_parts_lose_the_same_channels_in_every_layer() -> None:
    torch.manual_seed(0)
    model = Residual()
    pruner = Pruner(model, (IMAGES,), PruningSettings("l1", 0.0, scope="coupled"))
    seen: list[dict[str, list[int]]] = []

    def evaluate(network: nn.Module) -> float:
        dead = {
            name: (~layer.weight.flatten(1).any(1)).nonzero().flatten().tolist()
            for name, layer in pruner.layers.items()
        }
        seen.append({name: filters for name, filters in dead.items() if filters})
        return 0.0

    list(measure_sensitivity(pruner, layers_that_prune_alone(pruner), [0.5], evaluate))
    whole, stream, inner = seen
    assert whole == {}
    assert set(stream) == {"stem", "outer"}
    assert stream["stem"] == stream["outer"]
    assert len(stream["stem"]) == 4
    assert set(inner) == {"inner"}
