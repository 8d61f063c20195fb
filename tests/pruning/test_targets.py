from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from secateur.cost.macs import count_macs
from secateur.cost.parameters import count_parameters, sparsity
from secateur.errors import InputError
from secateur.pruning.prune import prune
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.pruning.sizes import SlimSizes
from secateur.pruning.targets import NominalSparsity, Target, read_target, solve
from secateur.slimming.slim import slim
from tests.pruning.networks import (
    Depthwise,
    Grouped,
    Plain,
    Residual,
    Shared,
    Unused,
    settle_statistics,
)

IMAGES = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("network", [Plain, Residual, Depthwise, Grouped, Shared, Unused])
@pytest.mark.parametrize("scope", ["independent", "coupled", "global"])
def test_predicted_sizes_are_those_of_the_slim_network(
    network: type[nn.Module], scope: str
) -> None:
    torch.manual_seed(0)
    model = settle_statistics(network())
    pruner = Pruner(model, (IMAGES,), PruningSettings("l1", 0.45, scope=scope))
    keep = pruner.plan()
    sizes = SlimSizes(model, IMAGES)
    before = copy.deepcopy(model.state_dict())
    shapes = sizes.shapes(keep, pruner.batchnorms)
    nominal = NominalSparsity(model, pruner.layers, pruner.batchnorms)(keep)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])

    pruner.apply(keep)
    slim_model = slim(model, IMAGES).model
    # The lone slope of an activation in a module that goes is counted all the same.
    assert 0 <= sizes.parameters(shapes) - count_parameters(slim_model) <= (network is Unused)
    assert sizes.macs(shapes) == pytest.approx(count_macs(slim_model, IMAGES).total)
    assert nominal == pytest.approx(sparsity(model))


@pytest.mark.parametrize("scope", ["independent", "coupled", "global", "global_coupled"])
@pytest.mark.parametrize("quantity", ["sparsity", "params", "macs"])
def test_target_is_met_within_one_set(scope: str, quantity: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 40, 3, padding=1, bias=False),
        nn.BatchNorm2d(40),
        nn.ReLU(),
        nn.Conv2d(40, 40, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(40, 8, 1),
    ).eval()
    pruner = Pruner(
        model,
        (IMAGES,),
        PruningSettings("l1", 0.3, scope=scope, target={quantity: 0.5}, exclude=["5"]),
    )
    pruner.apply(pruner.plan())
    slim_model = slim(model, IMAGES).model
    reached = {
        "sparsity": sparsity(model),
        "params": count_parameters(slim_model) / count_parameters(model),
        "macs": count_macs(slim_model, IMAGES).total / count_macs(model, IMAGES).total,
    }
    # One filter of the second layer has 361 of 16,000 parameters, and so has its column.
    assert reached[quantity] == pytest.approx(0.5, abs=0.0125)


def test_rates_say_how_fast_layers_shrink_relative_to_each_other() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Conv2d(40, 40, 3), nn.Conv2d(40, 4, 1))
    pruner = Pruner(
        model,
        (IMAGES,),
        PruningSettings(
            "l1",
            0.3,
            rates={"first": 0.1, "last": 0.0},
            groups={"first": ["0"], "last": ["2"]},
            target={"sparsity": 0.4},
        ),
    )
    gone = {name: int((~mask).sum()) for name, mask in pruner.plan().items()}
    assert gone["2"] == 0
    assert abs(gone["1"] - 3 * gone["0"]) <= 3


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=40), value=st.floats(0.01, 0.99))
@settings(max_examples=50, deadline=None)
def test_bisection_finds_the_closest_number(sizes: list[int], value: float) -> None:
    whole = sum(sizes)

    def remaining(n: int) -> float:
        return 1 - sum(sizes[:n]) / whole

    found = solve(remaining, len(sizes), Target("macs", value))
    gaps = [abs(remaining(n) - value) for n in range(len(sizes) + 1)]
    assert gaps[found] == min(gaps)


def test_targets_that_make_no_sense_get_one_sentence() -> None:
    assert read_target(None) is None
    assert read_target({"macs": None}) is None  # type: ignore[dict-item]
    with pytest.raises(InputError, match="choose one of sparsity"):
        read_target({"flops": 0.5})
    with pytest.raises(InputError, match=r"above 0 and below 1, got 50"):
        read_target({"sparsity": 50})
    with pytest.raises(InputError, match="takes one quantity"):
        read_target({"macs": 0.5, "params": 0.5})
    with pytest.raises(InputError, match="cannot be reached"):
        Pruner(Residual(), (IMAGES,), PruningSettings("l1", 0.3, target={"sparsity": 0.99})).plan()


def test_targets_are_amounts_too() -> None:
    model = Residual()
    parameters, macs = count_parameters(model), count_macs(model, (IMAGES,)).total
    for target, dense in (({"params": parameters // 2}, parameters), ({"macs": macs // 2}, macs)):
        name = next(iter(target))
        share, amount = (
            prune(model, IMAGES, "l1", 0.3, target=wanted).report.keep
            for wanted in ({name: target[name] / dense}, target)
        )
        assert all(torch.equal(share[layer], amount[layer]) for layer in share)


@pytest.mark.parametrize(
    ("target", "amount", "text"),
    [
        ({"params": 50000}, 50000, "50k"),
        ({"params": "0.05M"}, 50000, "50k"),
        ({"macs": "40M"}, 40e6, "40M"),
        ({"macs": "1.5G"}, 1.5e9, "1.5G"),
        ({"latency": "8ms"}, 8, "8ms"),
        ({"latency": "0.5 s"}, 500, "500ms"),
    ],
)
def test_amounts_are_read_and_written(target: dict[str, object], amount: float, text: str) -> None:
    found = read_target(target)  # type: ignore[arg-type]
    assert found is not None
    assert found.amount == pytest.approx(amount)
    assert str(found) == text
    again = read_target({found.quantity: text})
    assert again is not None
    assert again.amount == pytest.approx(amount)


@pytest.mark.parametrize(
    "target",
    [{"sparsity": 2}, {"sparsity": "40M"}, {"latency": 8}, {"macs": "8ms"}, {"macs": "many"}],
)
def test_amounts_without_a_meaning_are_refused(target: dict[str, object]) -> None:
    with pytest.raises(InputError, match="must be a share above 0 and below 1"):
        read_target(target)  # type: ignore[arg-type]


def test_an_amount_above_the_dense_network_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to prune"):
        prune(Residual(), IMAGES, "l1", 0.3, target={"params": "1G"})
