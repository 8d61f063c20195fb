"""EXTD: parameters, names, shared blocks, golden outputs and a golden training step."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from secateur.detectors.extd import EXTD, GROUPS
from secateur.weights.detector_weights import read_weights
from tests.detectors.networks import (
    assert_any_size,
    assert_copies,
    assert_freezes,
    assert_golden_outputs,
    assert_golden_training_step,
    random_input,
)

Width = Literal[64, 48, 32]
WIDTHS: tuple[Width, ...] = (64, 48, 32)


@pytest.mark.parametrize(
    ("width", "parameters", "keys", "convolutions", "calls"),
    [(64, 162_352, 164, 37, 97), (48, 100_160, 164, 37, 97), (32, 62_939, 213, 43, 133)],
)
def test_parameters_and_calls(
    width: Width, parameters: int, keys: int, convolutions: int, calls: int
) -> None:
    network = EXTD(width).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len(network.state_dict()) == keys
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) == convolutions
    called: list[nn.Module] = []
    for layer in layers:
        layer.register_forward_hook(lambda module, *_: called.append(module))
    with torch.inference_mode():
        network(random_input(64, 64))
    assert len(called) == calls


@pytest.mark.parametrize("width", WIDTHS)
def test_names_are_those_of_the_official_release(reference: Path, width: Width) -> None:
    official = read_weights(reference / f"weights/clovaai_extd_{width}.safetensors")
    expected = {name: tensor.shape for name, tensor in official.items()}
    assert {name: value.shape for name, value in EXTD(width).state_dict().items()} == expected


def test_shared_batch_norms_see_six_resolutions() -> None:
    network = EXTD(32).train()
    network(random_input(64, 64, batch=2))
    assert network.state_dict()["base.2.conv.1.num_batches_tracked"] == 6
    assert network.state_dict()["base.1.conv.1.num_batches_tracked"] == 1


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("width", [32, pytest.param(64, marks=pytest.mark.slow)])
def test_exported_and_traced_equal_eager(width: Width) -> None:
    assert_freezes(EXTD(width))


def test_any_size() -> None:
    assert_any_size(EXTD(32))


def test_copies() -> None:
    assert_copies(EXTD(32))


def test_initialisation_is_that_of_the_published_script() -> None:
    torch.manual_seed(0)
    network = EXTD(64)
    weight = network.loc[0].weight
    bound = (6 / (64 * 9 + 4 * 9)) ** 0.5
    assert 0.95 * bound < weight.abs().max().item() <= bound
    for head in (*network.loc, *network.conf):
        assert not head.bias.any()


def test_unknown_width_is_refused() -> None:
    with pytest.raises(ValueError, match="width must be 64, 48 or 32, got 40"):
        EXTD(40)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", WIDTHS)
def test_every_convolution_is_in_one_group(width: Width) -> None:
    layers = {n: m for n, m in EXTD(width).named_modules() if isinstance(m, nn.Conv2d)}
    filters = dict.fromkeys(GROUPS["script"], 0)
    for name, layer in layers.items():
        (group,) = (
            group
            for group, patterns in GROUPS["script"].items()
            if any(fnmatch(name, pattern) for pattern in patterns)
        )
        filters[group] += layer.out_channels
    if width == 64:
        assert list(filters.values()) == [192, 640, 576, 576, 640, 38]


@pytest.mark.parametrize(
    "name",
    [
        "clovaai_extd_64",
        "clovaai_extd_48",
        "clovaai_extd_32",
        "bfpgm_extd_original",
        "bfpgm_extd_20_pruned",
    ],
)
def test_golden_outputs(
    reference: Path,
    golden_input: Callable[[int], Tensor],
    published: Callable[[str], nn.Module],
    name: str,
) -> None:
    assert_golden_outputs(reference, name, published(name), golden_input)


def test_golden_training_step(
    reference: Path,
    golden_input: Callable[[int], Tensor],
    published: Callable[[str], nn.Module],
) -> None:
    network = published("bfpgm_extd_original")
    assert_golden_training_step(
        reference,
        "extd",
        network,
        torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4),
        torch.cat([golden_input(0), golden_input(1)]),
        stored_name=lambda name: name,
    )
