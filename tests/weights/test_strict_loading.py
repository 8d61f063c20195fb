"""Weights are copied into a network all or none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from secateur.errors import InputError
from secateur.weights.strict_loading import load_strictly


def test_tensors_that_fit_are_copied() -> None:
    layer = nn.Linear(2, 3)
    tensors = {"weight": torch.ones(3, 2), "bias": torch.full((3,), 2.0)}
    load_strictly(layer, tensors, "a.pth", lambda: "nothing")
    torch.testing.assert_close(dict(layer.state_dict()), tensors)


def test_what_does_not_fit_is_named_with_the_remedy_and_nothing_is_copied() -> None:
    layer = nn.Linear(2, 3)
    before = layer.weight.clone()
    tensors = {"weight": torch.ones(3, 2), "bias": torch.ones(4), "scale": torch.ones(())}
    with pytest.raises(
        InputError,
        match=r"a\.pth does not fit Linear: bias should be \(3,\) and is \(4,\), scale should be "
        r"absent and is \(\); take other weights$",
    ):
        load_strictly(layer, tensors, "a.pth", lambda: "take other weights")
    assert torch.equal(layer.weight, before)


def test_only_the_first_three_are_listed() -> None:
    with pytest.raises(InputError, match=r", and 2 tensors more; take others"):
        load_strictly(
            nn.Linear(2, 3),
            {name: torch.ones(1) for name in ("a", "b", "c")},
            "a.pth",
            lambda: "take others",
        )
