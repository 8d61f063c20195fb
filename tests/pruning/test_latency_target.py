from __future__ import annotations

import pytest
import torch
from torch import nn

from secateur.cost.layer_latency import FRACTIONS, LatencyTable, TimedLayer, measure_layers
from secateur.errors import InputError
from secateur.pruning import prune
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.pruning.targets import LatencyTarget, Shapes, Target
from tests import fake_timing

IMAGES = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
CHANNELS = 100


@pytest.fixture(autouse=True)
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock would say something else on a machine with other work."""
    monkeypatch.setattr("secateur.cost.latency.milliseconds", fake_timing.milliseconds)


def shapes(gone: int) -> Shapes:
    """One layer of 100 filters without some of them."""
    return {"conv.weight": (CHANNELS - gone, 1, 1, 1)}


def table(beyond: float) -> LatencyTable:
    """That layer: a millisecond for its call and four for its filters, and what is beyond it."""
    row = tuple(1 + 4 * fraction for fraction in FRACTIONS)
    layer = TimedLayer((CHANNELS, 1, 1, 1), False, False, ((row,) * len(FRACTIONS),), CHANNELS)
    return LatencyTable({"conv.weight": layer}, ((0.0, 0.0), (float(CHANNELS), beyond)))


def test_fewer_channels_take_less_but_no_less_than_the_smallest_layer_measured() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 40, 3), nn.Conv2d(40, 40, 3, groups=40), nn.ConvTranspose2d(40, 16, 2)
    )
    measured = measure_layers(model, torch.zeros(1, 3, 64, 64))
    dense = {name: tuple(p.shape) for name, p in model.named_parameters() if p.ndim > 1}
    whole = fake_timing.milliseconds(model)
    assert measured.milliseconds(dense) == measured.dense_ms == pytest.approx(whole)
    assert measured.milliseconds({}) == 0
    half = dense | {"0.weight": (20, 3, 3, 3), "1.weight": (20, 1, 3, 3)}
    half["2.weight"] = (20, 16, 2, 2)
    assert 0 < measured.milliseconds(half) < measured.dense_ms
    for name, few in (("0.weight", (1, 3, 3, 3)), ("2.weight", (1, 1, 2, 2))):
        assert measured.within({name: few})[0] >= fake_timing.CALL


def test_the_line_beyond_the_layers_goes_through_networks_that_were_measured() -> None:
    # 6 ms beyond the layer, of which 2 do not depend on channels.
    known = table(6).with_network(shapes(80), (1 + 4 * 0.2) + (2 + 4 * 0.2))
    assert known.dense_ms == 5 + 6
    for gone in (0, 30, 50, 80):
        share = 1 - gone / CHANNELS
        assert known.milliseconds(shapes(gone)) == pytest.approx(3 + 8 * share)


@pytest.mark.parametrize("wanted", [0.45, 0.6, 0.8])
def test_target_is_met_although_the_table_is_wrong(wanted: float) -> None:
    measured: list[int] = []

    def measure(gone: int) -> float:
        measured.append(gone)
        left = 1 - gone / CHANNELS
        return 0.3 + 0.7 * left**2

    latency = LatencyTarget(table(6))
    found = latency.solve(shapes, measure, 90, Target("latency", wanted))
    assert measure(found) == pytest.approx(wanted, abs=0.015)
    assert measured[0] == 90
    assert len(measured) <= 5

    # Weights change, layers do not: later masks cost no measurement.
    measured.clear()
    again = latency.solve(shapes, measure, 90, Target("latency", wanted))
    assert abs(again - found) <= 1
    assert not measured


def test_what_cannot_be_reached_is_refused_with_the_share_that_can() -> None:
    latency = LatencyTarget(table(6))
    with pytest.raises(InputError, match=r"latency=0\.5 cannot be reached: .* it is 0\.640, "):
        latency.solve(shapes, lambda _: 0.64, 90, Target("latency", 0.5))


def test_network_lands_on_the_latency_that_was_asked_for() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 40, 3, padding=1, bias=False), nn.BatchNorm2d(40), nn.ReLU()),
        *(nn.Conv2d(40, 40, 3, padding=1), nn.ReLU(), nn.Conv2d(40, 8, 1)),
    ).eval()
    slim, _ = prune(model, IMAGES, "l1", 0.3, target={"latency": 0.5}, exclude=["5"])
    share = fake_timing.milliseconds(slim) / fake_timing.milliseconds(model)
    # One filter and its column are 2.5 % of the parameters.
    assert share == pytest.approx(0.5, abs=0.02)
    with pytest.raises(InputError, match=r"latency=0\.1 cannot be reached"):
        prune(model, IMAGES, "l1", 0.3, target={"latency": 0.1}, exclude=["5"])


def test_rising_rates_measure_slim_networks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Conv2d(40, 40, 3), nn.Conv2d(40, 4, 1)).train()
    pruner = Pruner(
        model, (IMAGES,), PruningSettings("l1", 0.3, target={"latency": 0.6}, exclude=["2"])
    )
    half = pruner.plan(0.5)
    monkeypatch.setattr("secateur.pruning.sizes.measure_share", None)
    whole = pruner.plan()
    gone = [sum(int((~mask).sum()) for mask in keep.values()) for keep in (half, whole)]
    assert gone[1] // 2 - 1 <= gone[0] <= gone[1] // 2
    assert model.training
