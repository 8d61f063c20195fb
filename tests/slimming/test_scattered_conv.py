from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from secateur.pruning.artifact import load_slim, save_slim, save_verified_slim
from secateur.slimming.scattered_conv import ScatteredConv2d, scatter_zero_filters
from secateur.slimming.slim import slim
from tests.pruning.networks import Residual, mask

IMAGES = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def masked() -> Residual:
    torch.manual_seed(0)
    model = Residual().eval()
    mask(model.outer, [1, 2, 6])
    mask(model.stem, [0])
    return model


def test_scattered_layers_compute_the_same() -> None:
    model = masked()
    before = copy.deepcopy(model.state_dict())
    result = scatter_zero_filters(model, IMAGES, min_speedup=0)
    assert set(result.speedups) == {"stem", "outer"}
    assert result.model.outer.weight.shape == (5, 6, 3, 3)
    torch.testing.assert_close(result.model(IMAGES), model(IMAGES))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    result.model(IMAGES).sum().backward()
    assert result.model.outer.weight.grad is not None


def test_only_what_is_faster_stays() -> None:
    result = scatter_zero_filters(masked(), IMAGES, min_speedup=1e9)
    assert result.speedups == {}
    assert type(result.model.outer) is nn.Conv2d


def test_a_bias_counts_as_a_filter() -> None:
    model = masked()
    model.outer.bias.data[2] = 1.0
    result = scatter_zero_filters(model, IMAGES, min_speedup=0)
    assert result.model.outer.places.tolist() == [0, 2, 3, 4, 5, 7]
    torch.testing.assert_close(result.model(IMAGES), model(IMAGES))


def test_slimming_leaves_scattered_layers_alone() -> None:
    model = scatter_zero_filters(masked(), IMAGES, min_speedup=0).model
    again = slim(model, IMAGES).model
    torch.testing.assert_close(again(IMAGES), model(IMAGES))
    assert again.outer.weight.shape == model.outer.weight.shape


def test_round_trip(tmp_path: Path) -> None:
    slimmed = slim(masked(), IMAGES).model
    model = scatter_zero_filters(slimmed, IMAGES, min_speedup=0).model
    save_slim(tmp_path, model, {"name": "residual", "arguments": {}})
    loaded = load_slim(tmp_path, {"residual": Residual})
    assert isinstance(loaded.outer, ScatteredConv2d)
    assert torch.equal(loaded(IMAGES), model(IMAGES))
    assert repr(loaded) == repr(model)


def test_a_proved_slim_network_may_be_scattered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    everything = partial(scatter_zero_filters, min_speedup=0)
    monkeypatch.setattr("secateur.pruning.artifact.scatter_zero_filters", everything)
    architecture = {"name": "residual", "arguments": {}}
    proved = save_verified_slim(
        tmp_path, masked(), architecture, {"residual": Residual}, IMAGES, [(IMAGES,)], scatter=True
    )
    assert isinstance(proved.network.outer, ScatteredConv2d)
    assert proved.difference < 1e-5


@pytest.mark.parametrize("places", [[0, 0], [0, 8], [-1, 2]])
def test_impossible_places_are_refused(places: list[int]) -> None:
    with pytest.raises(ValueError, match="different numbers from 0 to 7"):
        ScatteredConv2d(nn.Conv2d(3, 2, 1), torch.tensor(places), 8)
