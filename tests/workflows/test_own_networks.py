"""Networks that files may name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.pruning.artifact import load_slim, save_slim
from secateur.workflows.build import plain_arguments
from secateur.workflows.own_networks import architecture_name, builders


class Tiny(nn.Module):
    """A network that this project does not know."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images)


PATH = f"{Tiny.__module__}.Tiny"


def test_a_network_of_a_user_is_named_by_its_path() -> None:
    assert architecture_name(PATH) == PATH
    assert architecture_name("secateur.recognizers.resnet50.ResNet50") == "resnet50"


def test_a_file_alone_imports_nothing_but_the_users_configuration_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_slim(tmp_path / "run", Tiny(6), {"name": PATH, "arguments": {"width": 6}})
    with pytest.raises(InputError, match="names the architecture"):
        load_slim(tmp_path / "run", builders())
    model = tmp_path / "conf" / "model"
    model.mkdir(parents=True)
    (model / "tiny.yaml").write_text(f"name: tiny\nnetwork: {{_target_: {PATH}, width: 4}}\n")
    monkeypatch.chdir(tmp_path)
    loaded = load_slim(tmp_path / "run", builders())
    assert loaded(torch.zeros(1, 3, 5, 5)).shape == (1, 6, 3, 3)


def test_the_network_of_a_command_may_be_built_by_it() -> None:
    config = OmegaConf.create({"model": {"network": {"_target_": PATH}}})
    assert PATH in builders(config)


def test_arguments_that_no_file_can_hold_are_refused_before_training() -> None:
    with pytest.raises(InputError, match="object of its own"):
        plain_arguments({"_target_": PATH, "act": {"_target_": "torch.nn.ReLU"}})
    assert plain_arguments({"_target_": PATH, "width": 3}) == {"width": 3}
