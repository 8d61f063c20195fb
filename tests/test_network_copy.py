from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from secateur.network_copy import copy_network


class Odd(nn.Module):
    """Attributes of many kinds, some of them shared or pointing back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.alias = self.conv
        self.act = self.conv.forward  # a bound method
        self.register_buffer("loose", torch.ones(2), persistent=False)
        self.sizes = {"a": [1, 2], "b": (3, torch.ones(1))}
        self.again = self.sizes
        self.modules_in_a_list = [self.conv]
        self.owner = [self]
        self.calls = 0
        self.register_forward_hook(Odd.count)

    @staticmethod
    def count(module: Any, *_: object) -> None:
        module.calls += 1

    def forward(self, images: Tensor) -> Tensor:
        return self.act(images) + self.loose.sum()


class Own(nn.Module):
    """Copies itself by its own rule."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.copies = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Own:
        made = Own(copy.deepcopy(self.inner, memo))
        made.copies = self.copies + 1
        return made


def test_a_copy_is_what_deepcopy_makes() -> None:
    model = Odd()
    made = copy_network(model)
    assert made.alias is made.conv is made.modules_in_a_list[0] is made.act.__self__
    assert made.owner[0] is made
    assert made.again is made.sizes
    assert made.sizes is not model.sizes
    assert made.sizes["b"][1] is not model.sizes["b"][1]
    assert made.state_dict().keys() == model.state_dict().keys()
    images = torch.randn(1, 3, 4, 4)
    with torch.no_grad():
        made.conv.weight.zero_()
    assert not torch.equal(made(images), model(images))
    assert (made.calls, model.calls) == (1, 1)
    made.register_buffer("more", torch.ones(1), persistent=False)
    assert "more" not in model._non_persistent_buffers_set


def test_shared_tensors_stay_the_same_objects() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    made = copy_network(model, shared=[model[0].weight])
    assert made[0].weight is model[0].weight
    assert made[1].weight is not model[1].weight


def test_modules_with_a_rule_of_their_own_follow_it() -> None:
    model = nn.Sequential(Own(nn.Linear(2, 2)), nn.Linear(2, 2))
    made = copy_network(model)
    assert made[0].copies == 1
    assert made[0].inner is not model[0].inner


def test_parametrized_layers_are_copied() -> None:
    model = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 1))
    made = copy_network(model)
    assert parametrize.is_parametrized(made)
    torch.testing.assert_close(made.weight, model.weight)
