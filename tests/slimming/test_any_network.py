"""What networks outside this project are made of: each goes slim exactly, by what it is made of."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.pruning import prune
from secateur.pruning.artifact import load_slim, save_slim
from secateur.slimming.graph.network_graph import trace
from tests.pruning.networks import Normalized

IMAGES = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))


class Between(nn.Module):
    """Convolutions to and from eight channels, and something between them.

    Args:
        middle: What lies between.
    """

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.middle = middle
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


class Autocast(nn.Module):
    """Half of the backbone under autocast, as arcface_torch has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return self.norm(self.conv(x)).relu_()


class Standardized(nn.Conv2d):
    """Weights of mean 0 and variance 1, made in every forward."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), keepdim=True)
        weight = (self.weight - mean) * torch.rsqrt(variance + 1e-5)
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class Holder(nn.Conv2d):
    """Keeps a Python module, which nothing can copy."""

    def __init__(self) -> None:
        super().__init__(8, 8, 1)
        self.library = torch


class Selective(nn.Module):
    """Two paths, summed and weighted by a softmax over the paths (SKNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = 8
        self.near = nn.Conv2d(8, 8, 3, padding=1)
        self.far = nn.Conv2d(8, 8, 5, padding=2)
        self.attend = nn.Conv2d(8, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        paths = torch.stack([self.near(x).relu(), self.far(x).relu()], 1)
        weights = self.attend(paths.sum(1).mean((2, 3), keepdim=True))
        weights = weights.view(x.shape[0], 2, self.channels, 1, 1).softmax(1)
        return (paths * weights).sum(1)


class WrittenSplit(nn.Module):
    """Equal parts of a written width, one after the other (Res2Net)."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 4
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = torch.split(x.relu(), self.width, 1)
        return torch.cat([a, self.conv(a + b)], 1)


class UnequalSplit(nn.Module):
    """Parts of written sizes, each with a convolution of its own (MixNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = [5, 3]
        self.left = nn.Conv2d(5, 5, 3, padding=1)
        self.right = nn.Conv2d(3, 3, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = torch.split(x.relu(), self.sizes, 1)
        return torch.cat([self.left(a), self.right(b)], 1)


class Halves(nn.Module):
    """A slice up to a written channel, and the rest (MODNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.normed = 5
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.norm(x[:, : self.normed]), x[:, self.normed :].relu()], 1)


class Hidden(nn.Module):
    """A hidden linear layer between the mean and the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(8, 32)
        self.down = nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.up(x.mean((2, 3))).relu())[:, :, None, None]


class PaddedShortcut(nn.Module):
    """A shortcut padded with zero channels up to the width of the convolution (BlazeFace)."""

    def __init__(self) -> None:
        super().__init__()
        self.channel_pad = 4
        self.conv = nn.Conv2d(8, 12, 3, padding=1)
        self.project = nn.Conv2d(12, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = nn.functional.pad(x, (0, 0, 0, 0, 0, self.channel_pad))
        return self.project((self.conv(x) + shortcut).relu())


class HalvedTotal(nn.Module):
    """Halves of a width of which the module keeps the whole (SKNet in timm)."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels = 8
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = torch.split(x.relu(), self.in_channels // 2, 1)
        return torch.cat([self.conv(a), b], 1)


class PaddedStride(nn.Module):
    """Zeros to the right and below, and a depthwise convolution that strides (BlazeFace)."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, groups=8)
        self.point = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.point(self.depthwise(nn.functional.pad(x, (0, 1, 0, 1)))).relu()


class Heads(nn.Module):
    """Attention over all places, its queries, keys and values cut out of one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(8, 24, 1)
        self.project = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).reshape(x.shape[0], 3, 2, -1, x.shape[2] * x.shape[3])
        q, k, v = qkv.unbind(1)
        mixed = v @ (q.transpose(2, 3) @ k).softmax(-1)
        return self.project(mixed.reshape(x.shape[0], -1, *x.shape[2:]))


class ChunkedHeads(Heads):
    """The same with three chunks, and a head size that is written down."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.flatten(2) for part in self.qkv(x).chunk(3, 1))
        mixed = v @ (q.transpose(1, 2) @ k).softmax(-1)
        return self.project(mixed.view(x.shape[0], -1, *x.shape[2:]))


class LiteralHeads(nn.Module):
    """Channels dealt out to four heads, a number that stands in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        heads = x.view(x.shape[0], 4, -1, *x.shape[2:])
        gates = heads.mean((3, 4), keepdim=True).sigmoid()
        return self.project((heads * gates).flatten(1, 2))


def grouped_norm() -> nn.Module:
    return nn.Sequential(nn.GroupNorm(4, 8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))


def upsampling() -> nn.Module:
    return nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1, groups=8, bias=False)


def grouped_upsampling() -> nn.Module:
    layer = nn.ConvTranspose2d(8, 16, 4, stride=2, padding=1, groups=2)
    return nn.Sequential(layer, nn.ReLU(), nn.Conv2d(16, 8, 1))


def normed() -> nn.Module:
    torch.nn.utils.parametrizations.weight_norm(inner := nn.Conv2d(8, 8, 3, padding=1))
    return inner


def standardized() -> nn.Module:
    return Standardized(8, 8, 3, padding=1)


# Middle, and the share of its filters that a rate of one half must take from the first layer.
CASES: list[Callable[[], nn.Module]] = [
    Autocast, standardized, normed, Holder, Selective, WrittenSplit, UnequalSplit, Halves, Hidden,
    PaddedShortcut, grouped_norm, upsampling, HalvedTotal, PaddedStride, Heads, ChunkedHeads,
    LiteralHeads, grouped_upsampling,
]  # fmt: skip


def disturbed(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("middle", CASES)
def test_slim_networks_are_saved_and_loaded(
    middle: Callable[[], nn.Module], tmp_path: Path
) -> None:
    model = disturbed(Between(middle()))
    slim = prune(model, IMAGES, "l1", 0.5).model
    save_slim(tmp_path, slim, {"name": "between", "arguments": {}})
    loaded = load_slim(tmp_path, {"between": lambda: Between(middle())})
    assert torch.equal(loaded(IMAGES), slim(IMAGES))


@pytest.mark.parametrize("middle", CASES)
def test_half_of_the_filters_go_and_the_rest_computes_the_same(
    middle: Callable[[], nn.Module],
) -> None:
    torch.manual_seed(0)
    model = disturbed(Between(middle()))
    slim, report = prune(model, IMAGES, "l1", 0.5)
    assert slim.first.out_channels <= 4
    assert report.slimming.max_rel_diff < 1e-5
    assert report.account.total.parameters_slim < 0.6 * report.account.total.parameters
    slim(IMAGES).sum().backward()  # it still trains
    assert slim.half()(IMAGES.half()).dtype == torch.half
    slim.float()
    again = prune(slim, IMAGES, "l1", 0.5).report.account.total
    assert again.parameters_slim < again.parameters  # one channel of every part stays


def test_linear_layers_that_write_an_output_stay_whole() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(800, 16), nn.Linear(16, 5))
    slim, _ = prune(disturbed(model), IMAGES, "l1", 0.5)
    assert (slim[2].out_features, slim[3].out_features) == (8, 5)


def test_group_norms_lose_whole_groups() -> None:
    slim, report = prune(disturbed(Between(grouped_norm())), IMAGES, "l1", 0.5)
    assert (slim.middle[0].num_groups, slim.middle[0].num_channels) == (2, 4)
    assert not report.slimming.renormalized


def test_layer_norms_lose_channels_only_when_equality_is_given_up() -> None:
    model = disturbed(Normalized())
    last = nn.Sequential(model, nn.Conv2d(6, 2, 1))
    slim, report = prune(last, IMAGES, "l1", 0.5, equal=False)
    assert slim[0].norm.normalized_shape == (3,)
    assert list(report.slimming.renormalized) == ["0.norm"]
    assert "not equal by nature" in str(report)
    held = prune(last, IMAGES, "l1", 0.5).report.explain()
    assert "norm (layer_norm) normalises over channels" in held
    assert "equal=False" in held
    assert "networks.py:" in held  # the line of the model's source


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 8), nn.GroupNorm(1, 8)])
def test_zero_filters_before_a_norm_go_too_when_equality_is_given_up(norm: nn.Module) -> None:
    model = disturbed(Between(norm))
    options = {"scope": "independent", "exclude": ["last"]}
    slim, report = prune(model, IMAGES, "l1", 0.75, **options, equal=False)
    assert slim.middle.num_channels < 8
    assert list(report.slimming.renormalized) == ["middle"]
    assert report.slimming.max_rel_diff < 1e-6
    assert not prune(model, IMAGES, "l1", 0.75, **options).report.slimming.renormalized


def test_an_operator_that_ties_all_channels_of_a_layer_is_named() -> None:
    class Attention(nn.Module):  # Wang et al. 2020: a convolution runs over the channels
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.conv(x.mean((2, 3))[:, None]).sigmoid().view(1, -1, 1, 1)

    first = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1))
    model = nn.Sequential(first, Between(Attention()))
    told = prune(model, IMAGES, "l1", 0.5).report.explain().splitlines()
    assert told[0] == "these channels stay whatever is asked for:"
    reason = "1.middle.conv (conv1d) mixes them, so that they go all or not at all"
    assert any(reason in line and "x * self.conv" in line for line in told), told


def test_a_refusal_names_what_holds_the_network() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Softmax(1))
    with pytest.raises(InputError, match="most are held by: "):
        prune(nn.Sequential(model, nn.Conv2d(8, 2, 1), nn.Flatten(0)), IMAGES, "l1", 0.5)


def test_a_parameter_that_an_unknown_operator_reads_has_no_label_per_element() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)
            self.table = nn.Parameter(torch.rand(8, 4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("bchw,cd->bdhw", self.conv(x), self.table)

    from secateur.slimming.analysis import find_dependencies

    model = Mixing().eval()
    dependencies, _ = find_dependencies(model, trace(model, IMAGES))
    assert dependencies.n_labels < 8 + 8 * 4


def test_the_network_itself_stays_as_it_was() -> None:
    model = disturbed(Between(WrittenSplit()))
    before = copy.deepcopy(model.state_dict())
    prune(model, IMAGES, "l1", 0.5)
    assert model.middle.width == 4
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
