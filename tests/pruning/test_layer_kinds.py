"""Every kind of layer and norm in a coupled set is pruned, kept, or refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torchvision.ops import FrozenBatchNorm2d

from secateur.errors import InputError
from secateur.pruning.prune import prune

SCOPES = (
    "coupled",
    *(pytest.param(s, marks=pytest.mark.slow) for s in ("independent", "global", "global_coupled")),
)


class FrozenBuffers(nn.Module):
    """A frozen batch norm as detectron2 has it: all buffers, one functional call."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.rand(channels) + 0.5)
        self.register_buffer("bias", torch.randn(channels))
        self.register_buffer("running_mean", torch.randn(channels))
        self.register_buffer("running_var", torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


class ScaledNorm(FrozenBuffers):
    """A norm with one scale for all channels, which a mask cannot zero by channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight = torch.ones(1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, self.running_mean, self.running_var) * self.weight


class EfficientAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.conv(x.mean((2, 3))[:, None]).transpose(1, 2)[..., None]
        return x * weights.sigmoid()


class OwnConvolution(nn.Module):
    """A convolution by functional calls on parameters of its own, two in one module."""

    def __init__(self, read: int, written: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(written, read, 3, 3) / 5)
        self.second = nn.Parameter(torch.randn(written + 2, written, 1, 1) / 3)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(functional.conv2d(x, self.weight).relu(), self.second)


class Rows(nn.Module):
    def __init__(self, wrap: Callable[[nn.Conv1d], nn.Module] = lambda layer: layer) -> None:
        super().__init__()
        self.conv, self.rows = nn.Conv2d(3, 8, 3), wrap(nn.Conv1d(8, 12, 3))
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rows(self.conv(x).relu().mean(2)).relu().mean(2))


class Clip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 8, 3, padding=(0, 1, 1))
        self.conv, self.head = nn.Conv2d(8, 12, 3), nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(self.stem(x).squeeze(2).relu()).relu())


def with_norm(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.Conv2d(8, 2, 1))


def filled(norm: nn.Module) -> nn.Module:
    """A norm whose statistics, scale and shift are none of those it starts with."""
    torch.manual_seed(1)
    for tensor in (*norm.parameters(), *norm.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
    return norm


PICTURE = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
VOLUME = PICTURE[:, :, None].repeat(1, 1, 3, 1, 1)
PRUNED = {
    "frozen norm of torchvision": (lambda: with_norm(filled(FrozenBatchNorm2d(8))), PICTURE),
    "frozen norm of buffers": (lambda: with_norm(filled(FrozenBuffers(8))), PICTURE),
    "instance norm": (lambda: with_norm(filled(nn.InstanceNorm2d(8, affine=True))), PICTURE),
    "instance norm with statistics": (
        lambda: with_norm(filled(nn.InstanceNorm2d(8, affine=True, track_running_stats=True))),
        PICTURE,
    ),
    "Conv1d between channels": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), EfficientAttention(), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 2, 1)
        ),
        PICTURE,
    ),
    "Conv1d behind Conv2d": (Rows, PICTURE),
    "weight norm of a Conv1d": (lambda: Rows(parametrizations.weight_norm), PICTURE),
    "Conv3d before Conv2d": (Clip, VOLUME),
    "Conv1d alone": (
        lambda: nn.Sequential(nn.Conv1d(3, 8, 3), nn.ReLU(), nn.Conv1d(8, 2, 1)),
        PICTURE[:, :, 0],
    ),
    "transposed Conv1d": (
        lambda: nn.Sequential(
            nn.Conv1d(3, 8, 1), nn.ReLU(), nn.ConvTranspose1d(8, 8, 2, 2), nn.Conv1d(8, 2, 1)
        ),
        PICTURE[:, :, 0],
    ),
    "transposed Conv3d": (
        lambda: nn.Sequential(
            nn.Conv3d(3, 8, 1), nn.ReLU(), nn.ConvTranspose3d(8, 8, 2), nn.Conv3d(8, 2, 1)
        ),
        VOLUME,
    ),
}
KEPT = {
    "one scale for all channels": (lambda: with_norm(filled(ScaledNorm(8))), PICTURE),
    "instance norm without scale": (
        lambda: with_norm(filled(nn.InstanceNorm2d(8, track_running_stats=True))),
        PICTURE,
    ),
    "functional calls": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), OwnConvolution(8, 6), nn.Conv2d(8, 2, 1)),
        PICTURE,
    ),
}


def made(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", PRUNED)
def test_every_kind_of_layer_is_pruned_and_proved(name: str, scope: str) -> None:
    make, inputs = PRUNED[name]
    model = made(make)
    slim, report = prune(model, inputs, "l1", 0.5, scope=scope)
    before, after = (sum(p.numel() for p in m.parameters()) for m in (model, slim))
    assert after < 0.8 * before, report


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", KEPT)
def test_what_no_mask_can_zero_stays_or_is_refused_in_a_sentence(name: str, scope: str) -> None:
    make, inputs = KEPT[name]
    outcome = "pruned"
    try:
        prune(made(make), inputs, "l1", 0.5, scope=scope)
    except InputError as error:
        outcome = str(error)
    assert outcome == "pruned" or "no channels that can be removed" in outcome


class Silent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> None:
        self.conv(x)


def negative_variance() -> nn.Module:
    model = with_norm(nn.BatchNorm2d(8))
    model.get_buffer("1.running_var")[0] = -1.0
    return model


@pytest.mark.parametrize(
    ("make", "inputs", "message"),
    [
        (lambda: with_norm(nn.BatchNorm2d(8)), PICTURE[:0], "example inputs are empty"),
        (Silent, PICTURE, "Silent returns no tensor"),
        (negative_variance, PICTURE, "computes NaN for the example inputs"),
        (lambda: with_norm(nn.BatchNorm2d(8)), PICTURE * torch.nan, "computes NaN"),
    ],
)
def test_what_nothing_can_be_proved_of_is_refused(
    make: Callable[[], nn.Module], inputs: Tensor, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        prune(made(make), inputs, "l1", 0.5)


def test_sparsity_counts_frozen_scales_as_no_parameters() -> None:
    model = made(PRUNED["instance norm with statistics"][0])
    report = prune(model, PICTURE, "l1", target={"sparsity": 0.5}, scope="coupled").report
    assert abs(report.account.total.sparsity - 0.5) < 0.1
