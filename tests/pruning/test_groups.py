from __future__ import annotations

import pytest

from secateur.errors import InputError
from secateur.pruning.layers import rates_per_layer, resolve_groups

LAYERS = ["base.0", "base.1", "neck.0", "loc.0", "loc.1"]


def test_groups_resolve_in_the_order_of_layers() -> None:
    groups = {"a": ("neck", "base.1"), "b": ("loc.*",)}
    assert resolve_groups(groups, LAYERS) == {"a": ["base.1", "neck.0"], "b": ["loc.0", "loc.1"]}


def test_rate_of_a_group_without_layers() -> None:
    groups: dict[str, list[str]] = {"heads": []}
    assert rates_per_layer(0.1, {"heads": 0.0}, groups, ["base.0"]) == {"base.0": 0.1}
    with pytest.raises(InputError, match="group heads has a rate but all its layers are excluded"):
        rates_per_layer(0.1, {"heads": 0.5}, groups, LAYERS[:3])


def test_layer_in_two_groups() -> None:
    with pytest.raises(InputError, match=r"layer base\.1 is in group a and in group b"):
        resolve_groups({"a": ["base"], "b": ["*.1"]}, LAYERS)


def test_pattern_without_match() -> None:
    with pytest.raises(InputError, match=r"pattern 'bace' in group a fits no layer; close .* base"):
        resolve_groups({"a": ["bace"]}, LAYERS)


def test_rates() -> None:
    groups = {"a": ["base.0"], "b": ["loc.0", "loc.1"]}
    assert rates_per_layer(0.1, {"b": 0.5}, groups, LAYERS) == {
        "base.0": 0.1,
        "base.1": 0.1,
        "neck.0": 0.1,
        "loc.0": 0.5,
        "loc.1": 0.5,
    }


@pytest.mark.parametrize("rate", [1.2, 1.0, -0.1, float("nan")])
def test_rate_out_of_range(rate: float) -> None:
    with pytest.raises(InputError, match=r"^rate must be at least 0 and below 1, got"):
        rates_per_layer(rate, {}, {}, LAYERS)
    with pytest.raises(InputError, match=r"^rate of group a must be at least 0 and below 1, got"):
        rates_per_layer(0.1, {"a": rate}, {"a": ["base.0"]}, LAYERS)


def test_unknown_group_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown group 'c'; known groups are a, b"):
        rates_per_layer(0.1, {"c": 0.5}, {"a": ["base.0"], "b": []}, LAYERS)
    with pytest.raises(InputError, match="no groups are defined"):
        rates_per_layer(0.1, {"c": 0.5}, {}, LAYERS)
