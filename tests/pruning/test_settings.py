"""The one list of pruning arguments."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest
import torch
import yaml

from secateur.errors import InputError
from secateur.pruning.prune import prune
from secateur.pruning.settings import PruningSettings
from tests.pruning.networks import Residual

IMAGES = torch.zeros(1, 3, 16, 16)


def test_settings_survive_yaml() -> None:
    settings = PruningSettings(
        "l1", 0.2, {"a": 0.5}, {"a": ("first",)}, ["second"], scope="coupled", align=4, seed=3
    )
    again = PruningSettings.from_plain(yaml.safe_load(yaml.safe_dump(settings.to_plain())), "file")
    assert again.to_plain() == settings.to_plain()


def test_every_setting_can_be_read_from_a_file() -> None:
    plain = PruningSettings().to_plain()
    assert list(plain) == [setting.name for setting in fields(PruningSettings)]
    assert PruningSettings.from_plain(plain, "file") == PruningSettings(groups={}, exclude=[])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"criterion": "fpg"}, "did you mean fpgm"),
        ({"scope": "couple"}, "coupled"),
        ({"rate": 1.0}, "rate must be at least 0"),
        ({"rates": {"a": -1}}, "rate of group a"),
        ({"min_keep": 1.0}, "min_keep"),
        ({"align": 0}, "align must be at least 1"),
        ({"scope": "coupled", "mask_batchnorm": False}, "needs mask_batchnorm=true"),
        ({"target": {"size": 0.5}}, "choose one of sparsity"),
    ],
)
def test_impossible_settings_are_refused_at_once(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PruningSettings(**options)  # type: ignore[arg-type]


def test_prune_takes_every_setting_by_name_or_all_at_once() -> None:
    settings = PruningSettings("l1", 0.5, scope="coupled", align=2)
    model = Residual()
    by_name = prune(model, IMAGES, "l1", 0.5, align=2).report.keep
    at_once = prune(model, IMAGES, settings=settings).report.keep
    assert {name: mask.tolist() for name, mask in by_name.items()} == {
        name: mask.tolist() for name, mask in at_once.items()
    }
    with pytest.raises(InputError, match="did you mean exclude"):
        prune(model, IMAGES, excludes=["first"])
    assert "settings" in inspect.signature(prune).parameters


def test_a_number_of_four_hundred_digits_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="is no value for rate"):
        PruningSettings.from_plain({"rate": 10**400}, "file")
