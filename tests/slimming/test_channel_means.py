"""Means over channels, after which a slim network computes exactly what the masked one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.pruning import load_slim, prune, save_slim
from secateur.slimming.slim import slim
from secateur.slimming.slim_description import is_description

IMAGES = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))


class ResponseNorm(nn.Module):
    """Global response norm (Woo et al. 2023, algorithm 1); a large offset lets a mistake show."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.eps = 0.5
        self.gamma = nn.Parameter(torch.rand(1, channels, 1, 1) + 0.5)
        self.beta = nn.Parameter(torch.rand(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        response = x.norm(p=2, dim=(2, 3), keepdim=True)
        return self.gamma * (x * response / (response.mean(1, keepdim=True) + self.eps)) + x


class ShiftedResponseNorm(ResponseNorm):
    """With the shift, in one fused operator."""

    def forward(self, x: Tensor) -> Tensor:
        response = x.norm(p=2, dim=(2, 3), keepdim=True)
        scaled = response / (response.mean(1, keepdim=True) + self.eps)
        return x + torch.addcmul(self.beta, self.gamma, x * scaled)


class RootMeanSquareNorm(ResponseNorm):
    """Divided by the root of the mean square over channels."""

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * (x * torch.rsqrt(x.square().mean(1, keepdim=True) + self.eps))


class WrittenOffset(ResponseNorm):
    """The offset is a number in the source, which no slim network could have another one of."""

    def forward(self, x: Tensor) -> Tensor:
        response = x.norm(p=2, dim=(2, 3), keepdim=True)
        return self.gamma * (x * response / (response.mean(1, keepdim=True) + 0.25)) + x


class MeanTwice(ResponseNorm):
    """What is done with the mean besides cannot be made up for."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.square().mean(1, keepdim=True)
        return self.gamma * (x * torch.rsqrt(mean + self.eps)) + mean


def around(middle: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.GELU(), middle, nn.Conv2d(12, 2, 1)
    ).eval()


NORMS = [ResponseNorm, ShiftedResponseNorm, RootMeanSquareNorm]


@pytest.mark.parametrize("norm", NORMS)
def test_channels_before_a_norm_by_their_mean_go_and_the_rest_computes_the_same(
    norm: type[ResponseNorm],
) -> None:
    network, report = prune(around(norm(12)), IMAGES, "l1", 0.75)
    assert network[0].out_channels == 3
    assert report.slimming.max_rel_diff < 1e-6
    assert network[2].eps == pytest.approx(0.5 * 4)
    again = prune(network, IMAGES, "l1", 0.34).model
    assert again[0].out_channels == 2
    assert again[2].eps == pytest.approx(0.5 * 6)


@pytest.mark.parametrize("norm", [WrittenOffset, MeanTwice])
def test_a_mean_that_nothing_can_make_up_for_holds_its_channels(norm: type[ResponseNorm]) -> None:
    with pytest.raises(InputError, match=r"2 \(mean\) mixes channels"):
        prune(around(norm(12)), IMAGES, "l1", 0.75)


def test_channels_that_are_not_zero_before_the_mean_stay() -> None:
    model = around(ResponseNorm(12))
    with torch.no_grad():
        model[0].weight[:4] = 0  # its bias is left
    network, report = slim(model, IMAGES)
    assert network[0].out_channels == 12
    assert report.max_rel_diff < 1e-6
    with torch.no_grad():
        model[0].bias[:4] = 0
    assert slim(model, IMAGES).model[0].out_channels == 8


def test_rescaled_numbers_are_saved_and_read_back(tmp_path: Path) -> None:
    network = prune(around(ResponseNorm(12)), IMAGES, "l1", 0.5).model
    save_slim(tmp_path, network, {"name": "network", "arguments": {}})
    loaded = load_slim(tmp_path, {"network": lambda: around(ResponseNorm(12))})
    assert torch.equal(loaded(IMAGES), network(IMAGES))
    assert prune(loaded, IMAGES, "l1", 0.5).report.slimming.max_rel_diff < 1e-6


@pytest.mark.parametrize("offsets", [{"2": {"eps": "1"}}, {"2": 1.0}, [0.5]])
def test_numbers_that_are_none_are_refused(offsets: object) -> None:
    assert not is_description({"identities": [], "groups": {}, "offsets": offsets})
