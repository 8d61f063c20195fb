from __future__ import annotations

import pytest
from torch import nn

from secateur.errors import InputError
from secateur.pruning.layers import match_layers, prunable_layers


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.up = nn.ConvTranspose2d(4, 4, 2)
        self.alias = self.up
        self.loc = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)])
        self.linear = nn.Linear(4, 2)


def test_layers_come_once_and_in_order() -> None:
    assert list(prunable_layers(Network())) == ["base.0", "up", "loc.0", "loc.1"]


def test_exclude() -> None:
    assert list(prunable_layers(Network(), ["loc.*"])) == ["base.0", "up"]
    assert list(prunable_layers(Network(), ["loc", "u?"])) == ["base.0"]


def test_pattern_without_match_names_close_ones() -> None:
    with pytest.raises(InputError, match=r"pattern 'locs' in exclude fits no layer; .* loc"):
        prunable_layers(Network(), ["locs"])
    with pytest.raises(InputError, match=r"layers are named base\.0"):
        prunable_layers(Network(), ["xyz"])


def test_nothing_left_to_prune() -> None:
    with pytest.raises(InputError, match="Network cannot be pruned: every convolution"):
        prunable_layers(Network(), ["*"])
    with pytest.raises(InputError, match="it has no convolution"):
        prunable_layers(nn.Linear(2, 2))


def test_module_names_do_not_match_in_part() -> None:
    assert match_layers("conv1", ["conv1.0", "conv10.0"], "here") == ["conv1.0"]
