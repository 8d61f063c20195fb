from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.pruning.trace import batchnorm_after, trace


class Shared(nn.Module):
    """One convolution and batch norm used twice, the batch norm registered under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.alias = self.norm
        self.cache: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = self.norm(self.conv(x))
        x = self.alias(self.conv(x.relu_()))
        self.cache = x
        return x


class ValueDependent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_tensors_have_one_name_and_the_model_is_untouched() -> None:
    model = Shared().train()
    traced = trace(model, torch.zeros(1, 3, 8, 8))
    assert {"norm.weight", "norm.running_var", "conv.weight", "stem.bias"} <= set(
        traced.names.values()
    )
    assert "alias.weight" not in traced.names.values()
    assert traced.tensors["conv.weight"] is model.conv.weight
    assert model.training
    assert model.norm.training
    assert model.cache is None


def test_batchnorm_after_shared_convolution() -> None:
    assert batchnorm_after(Shared(), torch.zeros(1, 3, 8, 8)) == {"conv": "norm"}


def test_in_place_operators_become_functional() -> None:
    traced = trace(Shared(), torch.zeros(1, 3, 8, 8))
    targets = [str(n.target) for n in traced.nodes if "aten" in str(n.target)]
    assert "aten.relu.default" in targets
    assert not [t for t in targets if t.split(".")[1].endswith("_")]


def test_untraceable_forward_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match="ValueDependent cannot be traced"):
        trace(ValueDependent(), torch.zeros(1, 3))
