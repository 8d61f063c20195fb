from __future__ import annotations

import json
from math import prod
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from secateur.cost.macs import LayerCost, count_macs
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD


def multiplications(model: nn.Module, images: Tensor) -> int:
    """Counted one output value at a time: how many weights write it."""
    ones = [p.detach().clone() for p in model.parameters()]
    total = torch.zeros(())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1 if parameter.ndim > 1 else 0)
        # With weights and inputs of one, each output is the number of products that it sums.
        total = model(torch.ones_like(images)).sum()
        for parameter, was in zip(model.parameters(), ones, strict=True):
            parameter.copy_(was)
    return int(total)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3),
        nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False),
        nn.Conv2d(4, 4, (1, 3), groups=4),
        nn.ConvTranspose2d(4, 6, 3, stride=2),
        nn.ConvTranspose2d(4, 6, 2, groups=2),
        nn.Linear(8, 5),
        nn.Linear(8, 5, bias=False),
    ],
)
def test_single_layers(layer: nn.Module) -> None:
    images = torch.randn(2, 4, 8, 8)
    assert count_macs(nn.Sequential(layer), images).total == multiplications(layer, images)


def test_shared_layers_count_every_call_and_the_largest_activation() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, stride=2, padding=1)
            self.alias = self.conv

        def forward(self, images: Tensor) -> Tensor:
            return self.alias(self.conv(images))

    costs = count_macs(Twice(), torch.randn(1, 2, 8, 8))
    macs = 36 * (16 + 4)
    assert costs.peak_activation_bytes == 4 * 2 * (64 + 16)
    assert costs.layers == {"conv": LayerCost(2, macs, 4 * 2 * (64 + 16))}


def test_functional_calls_count_and_products_of_activations_do_not() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(3, 2, 1, 1))

        def forward(self, images: Tensor) -> Tensor:
            scaled = nn.functional.conv2d(images, self.kernel * 2)
            rows = nn.functional.conv2d(images, self.kernel).flatten(2)[0]
            return scaled.sum() + (rows @ rows.T).sum()

    costs = count_macs(Functional(), torch.randn(1, 2, 4, 4)).layers
    assert {name: cost.macs for name, cost in costs.items()} == {"other": 96, "kernel": 96}


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    model[1].eval()
    before = model[1].running_mean.clone()
    count_macs(model.train(), torch.randn(1, 3, 8, 8))
    model[1].eval()
    count_macs(model, torch.randn(1, 3, 8, 8))
    assert (model.training, model[1].training, model[2].training) == (True, False, True)
    assert torch.equal(model[1].running_mean, before)


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        (EResFD(), (640, 640), 0.393e9),
        (EResFD(), (480, 640), 0.295e9),
        (EXTD(64), (480, 640), 10.06e9),
        (EXTD(48), (64, 64), 7.89e9 / 100),
        (EXTD(32), (64, 64), 5.40e9 / 100),
    ],
)
def test_macs_of_the_detectors(model: nn.Module, size: tuple[int, int], expected: float) -> None:
    macs = count_macs(model, torch.zeros(1, 3, *size)).total
    assert macs == pytest.approx(expected, rel=2e-3 if size[0] > 64 else 2e-2)


@pytest.mark.parametrize(
    ("file", "build"),
    [("eresfd_clovaai", EResFD), ("eresfd_bfpgm", lambda: EResFD("bfpgm")), ("extd_64", EXTD)],
)
def test_macs_equal_those_of_the_published_architectures(
    reference: Path, file: str, build: type[nn.Module]
) -> None:
    calls = json.loads((reference / "golden" / "arch" / f"{file}.json").read_text())["calls"]
    expected: dict[str, int] = {}
    for call in calls:
        if call["op"] == "Conv2d":
            macs = prod(call["out"]) * call["cin"] // call["g"] * prod(call["k"])
            name = call["keys"][0]
            expected[name] = expected.get(name, 0) + macs
    found = count_macs(build(), torch.zeros(1, 3, 640, 640))
    unused = {name for name in expected if "b2_5" in name or "layer5" in name}
    if file == "eresfd_bfpgm":  # the published code runs them for nothing
        expected = {name: macs for name, macs in expected.items() if name not in unused}
    assert sum(expected.values()) == found.total
    assert sorted(expected.values()) == sorted(cost.macs for cost in found.layers.values())
