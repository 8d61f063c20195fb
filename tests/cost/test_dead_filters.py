"""Dead filters: what is zero, denormal or switched off by its norm, and what that takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from secateur.cost.dead_filters import find_dead_filters
from secateur.pruning.prune import prune
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.runtime.denormals import denormals_as_zero

EXAMPLE = torch.zeros(1, 3, 8, 8)


def network(dead: int = 3) -> nn.Sequential:
    """Eight filters, of which the last are denormal, and a layer that reads them."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1),
    ).eval()
    with torch.no_grad():
        made[0].weight[8 - dead :] = 2.6e-41  # the FPGM score of filters near zero is no low one
    return made


def layers_of(model: nn.Sequential) -> dict[str, nn.Module]:
    return {"0": model[0], "3": model[3]}


def test_filters_are_dead_by_their_weights_or_by_their_norm_but_not_by_half_of_it() -> None:
    model = network(dead=1)
    with torch.no_grad():
        model[1].weight[:2] = 0
        model[1].bias[1] = 0.5  # writes a number that the next layer reads
    assert find_dead_filters(model, layers_of(model), {"0": "1"}).of["0"].nonzero().tolist() == [
        [0],
        [7],
    ]
    with torch.no_grad():
        model[3].weight[0] = 0
    assert not find_dead_filters(model, layers_of(model), {}).of["3"].any()  # it has a bias


def test_their_share_counts_weights_and_norm() -> None:
    model = network()
    dead = find_dead_filters(model, layers_of(model), {"0": "1"})
    total = 8 * 27 + 16 + 36
    assert dead.count == 3
    assert dead.parameters == pytest.approx(3 * (27 + 2) / total)
    assert dead.vanished == pytest.approx((3 * 27 + 8) / total)  # all shifts are zero at first
    assert str(dead).startswith("3 of 12 filters are dead, 32.5% of the parameters; 33.2% of all")


def test_what_is_dead_does_not_depend_on_what_the_processor_takes_for_zero() -> None:
    model = network()
    with denormals_as_zero():
        inside = str(find_dead_filters(model, layers_of(model), {"0": "1"}))
    assert inside == str(find_dead_filters(model, layers_of(model), {"0": "1"}))


@pytest.mark.parametrize("scope", ["independent", "coupled", "global", "global_coupled"])
@pytest.mark.parametrize("criterion", ["fpgm", "l1", "random"])
def test_dead_filters_are_removed_first_within_the_rate(criterion: str, scope: str) -> None:
    settings = PruningSettings(criterion, 0.25, scope=scope, exclude=["3"], remove_dead=True)
    keep = Pruner(network(), (EXAMPLE,), settings).plan()["0"]
    assert int((~keep).sum()) == 2
    assert bool(keep[:5].all())
    keep = Pruner(network(dead=1), (EXAMPLE,), settings).plan()["0"]
    assert int((~keep).sum()) == 2
    assert not keep[7]


def test_without_being_asked_the_criterion_alone_decides() -> None:
    plain, first = (
        Pruner(
            network(), (EXAMPLE,), PruningSettings("random", 0.25, exclude=["3"], **more)
        ).score()
        for more in ({}, {"remove_dead": True})  # type: ignore[arg-type]
    )
    assert torch.equal(plain["0"][:5], first["0"][:5])
    assert bool((first["0"][5:] < first["0"][:5].min()).all())
    assert not torch.equal(plain["0"], first["0"])


def test_any_network_loses_its_dead_filters_on_request() -> None:
    slim, _ = prune(network(), EXAMPLE, "random", 0.375, exclude=["3"], remove_dead=True)
    assert slim[0].weight.shape == (5, 3, 3, 3)
    assert torch.equal(slim[0].weight, network()[0].weight[:5])
