"""Reconstruction against naive least squares, and what must hold for every network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from secateur.errors import InputError
from secateur.pruning.prune import prune
from secateur.pruning.reconstruction import reconstruct
from secateur.pruning.refitting.least_squares import (
    NormalEquations,
    Samples,
    fit_samples,
    fit_sums,
    solve_ridge,
)


def pictures(count: int = 4, channels: int = 3, side: int = 12) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, channels, side, side, generator=generator) for _ in range(count)]


def with_statistics(model: nn.Module, channels: int = 3) -> nn.Module:
    """The model with batch norms that have seen data and scales that differ."""
    torch.manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    model.train()
    with torch.no_grad():
        for batch in pictures(channels=channels):
            model(batch)
    return model.eval()


def zero(layer: nn.Module, *filters: int) -> None:
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            if parameter is not None:
                parameter[list(filters)] = 0


def distance(first: nn.Module, second: nn.Module, inputs: list[Tensor]) -> float:
    with torch.no_grad():
        return max(float((first(x) - second(x)).abs().max()) for x in inputs)


def chain(**second: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 4, **{"kernel_size": 3, "padding": 1, **second}, bias=False),
        nn.BatchNorm2d(4),
    )


@pytest.mark.parametrize(
    "second",
    [
        {"kernel_size": 1, "padding": 0},
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 3, "dilation": 2, "padding": 2},
        {"kernel_size": 3, "groups": 2},
    ],
)
def test_weights_are_those_of_a_naive_ridge_regression(second: dict[str, int]) -> None:
    dense = with_statistics(chain(**second))
    masked = copy.deepcopy(dense)
    zero(masked[0], 1, 4)
    zero(masked[1], 1, 4)
    fits = reconstruct(dense, masked, pictures(), damping=1e-2)
    assert [fit.layer for fit in fits] == ["3"]
    assert fits[0].error_after < fits[0].error_before

    inputs, layer, refitted = torch.cat(pictures()), dense[3], masked[3]
    with torch.no_grad():
        source = copy.deepcopy(masked[:3]).double()(inputs.double())
        wanted = layer.double()(dense[:3].double()(inputs.double()))
    groups = layer.groups
    patches = functional.unfold(
        source, layer.kernel_size, layer.dilation, layer.padding, layer.stride
    )
    x_all = patches.movedim(1, 2).reshape(-1, groups, patches.shape[1] // groups)
    y_all = wanted.movedim(1, -1).reshape(-1, groups, wanted.shape[1] // groups)
    for group in range(groups):
        x, y = x_all[:, group], y_all[:, group]
        start = layer.weight.detach().flatten(1).view(groups, -1, x.shape[1])[group].mT
        xc, yc = x - x.mean(0), y - y.mean(0)
        strength = 1e-2 * xc.square().sum(0).mean()
        stacked = torch.cat([xc, strength.sqrt() * torch.eye(x.shape[1])])
        target = torch.cat([yc, strength.sqrt() * start])
        expected = torch.linalg.lstsq(stacked, target).solution
        found = refitted.weight.detach().flatten(1).view(groups, -1, x.shape[1])[group].mT
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)
        mean = refitted.bias if refitted.bias is not None else masked[4].running_mean
        rows = slice(group * len(y[0]), (group + 1) * len(y[0]))
        shift = (x.mean(0) @ expected - y.mean(0)).float()
        torch.testing.assert_close(mean[rows], dense[4].running_mean[rows].float() + shift)


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.BatchNorm2d(6), nn.ReLU())
        self.last = nn.Sequential(nn.Flatten(), nn.Linear(6 * 8 * 8, 5))

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.depthwise(self.first(images)))


class Residual(nn.Module):
    """The shortcut loses a filter; the branch has to make up for it."""

    def __init__(self) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.branch = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))

    def forward(self, images: Tensor) -> Tensor:
        return self.branch(images) + self.shortcut(images)


class Shared(nn.Module):
    """One block that runs three times, each time before a batch norm of its own or a common one."""

    def __init__(self, common: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.block = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        norms = [nn.BatchNorm2d(6) for _ in range(1 if common else 3)]
        self.norms = nn.ModuleList(norms * (3 if common else 1))

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images).relu()
        for norm in self.norms:
            features = norm(self.block(features)).relu()
        return features


def test_a_mask_that_removes_nothing_changes_nothing() -> None:
    dense = with_statistics(Shared(common=True))
    masked = copy.deepcopy(dense)
    assert reconstruct(dense, masked, pictures()) == []
    for name, tensor in masked.state_dict().items():
        assert torch.equal(tensor, dense.state_dict()[name]), name


@pytest.mark.parametrize("common", [True, False])
def test_duplicated_channels_are_recovered_in_a_block_that_runs_three_times(common: bool) -> None:
    dense = with_statistics(Shared(common))
    with torch.no_grad():
        # Channels 4 and 5 repeat 0 and 1 wherever they are written.
        for tensor in (*dense.state_dict().values(),):
            if tensor.dim() > 0 and len(tensor) == 6:
                tensor[4:] = tensor[:2]
    masked = copy.deepcopy(dense)
    zero(masked.stem, 4, 5)
    before = distance(dense, masked, pictures())
    fits = reconstruct(dense, masked, pictures(), damping=1e-6)
    assert fits[0].error_after < 1e-4
    # The block itself still writes the copies, so that only its first run has lost channels; no one
    # weight fits all runs unless reading 0 and 1 alone is right for all, as it is here.
    assert distance(dense, masked, pictures()) < 0.02 * before


def test_every_layer_with_lost_channels_comes_nearer_to_the_dense_network() -> None:
    dense = with_statistics(Depthwise())
    masked = copy.deepcopy(dense)
    zero(masked.first[0], 0)
    zero(masked.first[1], 0)
    fits = reconstruct(dense, masked, pictures(8))
    assert [fit.layer for fit in fits] == ["depthwise.0", "last.1"]
    assert all(fit.error_after <= fit.error_before for fit in fits)
    untouched = copy.deepcopy(dense)
    zero(untouched.first[0], 0)
    zero(untouched.first[1], 0)
    assert distance(dense, masked, pictures(8)) < 0.2 * distance(dense, untouched, pictures(8))


def test_a_branch_makes_up_for_what_its_shortcut_lost() -> None:
    dense = with_statistics(Residual())
    masked = copy.deepcopy(dense)
    zero(masked.shortcut[0], 2)
    zero(masked.shortcut[1], 2)
    reconstruct(dense, masked, pictures(), damping=1e-7)
    # A 1x1 shortcut is a special case of the 3x3 branch, so that nothing is lost at all.
    assert distance(dense, masked, pictures()) < 1e-3


def test_zero_filters_and_excluded_layers_stay_as_they_are() -> None:
    dense = with_statistics(chain())
    masked = copy.deepcopy(dense)
    zero(masked[0], 1)
    zero(masked[3], 2)
    reconstruct(dense, masked, pictures())
    assert bool((masked[3].weight[2] == 0).all())
    excluded = copy.deepcopy(dense)
    zero(excluded[0], 1)
    assert reconstruct(dense, excluded, pictures(), exclude=["3"]) == []
    assert torch.equal(excluded[3].weight, dense[3].weight)


def test_without_refitting_only_means_move() -> None:
    dense = with_statistics(chain())
    masked = copy.deepcopy(dense)
    zero(masked[0], 1, 3)
    zero(masked[1], 1, 3)
    before = distance(dense, masked, pictures())
    reconstruct(dense, masked, pictures(), refit=False)
    assert torch.equal(masked[3].weight, dense[3].weight)
    assert not torch.equal(masked[4].running_mean, dense[4].running_mean)
    assert distance(dense, masked, pictures()) < before


def test_whoever_waits_is_told_after_every_layer() -> None:
    dense = with_statistics(chain())
    masked = copy.deepcopy(dense)
    zero(masked[0], 1)
    told: list[tuple[int, int]] = []
    reconstruct(dense, masked, pictures(), on_layer=lambda *layers: told.append(layers))
    count = told[-1][1]
    assert told == [(done, count) for done in range(1, count + 1)]
    assert count > 1


def test_modes_of_modules_stay_and_the_dense_network_is_untouched() -> None:
    dense = with_statistics(chain())
    state = copy.deepcopy(dense.state_dict())
    masked = copy.deepcopy(dense).train()
    zero(masked[0], 1)
    reconstruct(dense, masked, pictures())
    assert masked.training
    assert not dense.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in dense.state_dict().items())


def test_pictures_of_several_shapes_are_refused() -> None:
    dense = chain().eval()
    with pytest.raises(InputError, match="of one shape"):
        reconstruct(dense, copy.deepcopy(dense), [torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 9, 8)])
    with pytest.raises(InputError, match="at least one"):
        reconstruct(dense, copy.deepcopy(dense), [])


def test_sums_do_not_depend_on_how_samples_come() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 2, 3, generator=generator) + 100
    y = torch.randn(50, 2, 4, generator=generator) - 50
    whole = NormalEquations(x.mean(0), y.mean(0))
    whole.add(x, y)
    first, second = (NormalEquations(x[0], y[0]) for _ in range(2))
    first.add(x[:20], y[:20])
    second.add(x[20:], y[20:])
    first.add_sums(second)
    for centered in (True, False):
        pairs = zip(first.moments(centered=centered), whole.moments(centered=centered), strict=True)
        for one, other in pairs:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("damping", [1e-3, None])
@pytest.mark.parametrize("centered", [True, False])
def test_samples_fewer_than_inputs_give_the_weights_that_their_sums_give(
    centered: bool, damping: float | None
) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(20, 2, n, generator=generator).double() + 1 for n in (30, 4))
    start = torch.randn(2, 30, 4, generator=generator).double()
    kept, summed = Samples(x[0], y[0]), NormalEquations(x[0], y[0])
    for sums in (kept, summed):
        sums.add(x[:12], y[:12])
        sums.add(x[12:], y[12:])
        assert sums.count == 20
        torch.testing.assert_close(sums.mean_x, x.mean(0))
        torch.testing.assert_close(sums.mean_y, y.mean(0))
    fit = fit_samples(kept, start, damping, centered=centered)
    expected = fit_sums([(summed, centered)], start, damping)
    for name in ("weights", "error_before", "error_after", "power"):
        torch.testing.assert_close(getattr(fit, name), getattr(expected, name))


def test_a_linear_layer_of_more_inputs_than_pictures_is_refitted_in_little_memory() -> None:
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 196, 5)).eval()
    masked = copy.deepcopy(dense)
    with torch.no_grad():
        masked[0].weight[6:] = 0
        masked[0].bias[6:] = 0
    pictures = torch.randn(12, 3, 16, 16)
    before = float((masked(pictures) - dense(pictures)).abs().mean().detach())
    (fit,) = reconstruct(dense, masked, pictures.split(4))
    assert fit.positions == 12
    assert fit.error_after < 0.01 * fit.error_before
    assert float((masked(pictures) - dense(pictures)).abs().mean().detach()) < 0.1 * before


def test_pictures_whose_feature_maps_do_not_fit_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    dense = with_statistics(chain())
    one, some = copy.deepcopy(dense), copy.deepcopy(dense)
    for network in (one, some):
        zero(network[0], 1, 4)
    # Maps of both networks for two pictures: six channels of 12 x 12, read and written at once.
    half = 2 * 2 * (2 * 2 * 6 * 12 * 12 * 4)
    fits = reconstruct(dense, some, pictures(4), memory=half)
    assert "2 of 4 batches" in caplog.text
    wanted = reconstruct(dense, one, pictures(4)[:2])
    assert [fit.error_after for fit in fits] == pytest.approx([f.error_after for f in wanted])
    torch.testing.assert_close(some.state_dict(), one.state_dict())
    assert reconstruct(dense, copy.deepcopy(some), pictures(4), memory=1)


def test_inputs_that_never_vary_keep_their_weights() -> None:
    start = torch.randn(1, 3, 2, dtype=torch.float64)
    solved = solve_ridge(torch.zeros(1, 3, 3).double(), torch.zeros(1, 3, 2).double(), start, 1e-3)
    torch.testing.assert_close(solved, start)


def test_prune_reconstructs_before_it_slims() -> None:
    dense = with_statistics(chain())
    distances = []
    for inputs in (None, pictures()):
        result = prune(dense, pictures()[0], "l1", 0.5, exclude=["3"], reconstruct=inputs)
        assert result.model[0].out_channels == 3
        distances.append(distance(dense, result.model, pictures()))
    # ``exclude`` keeps the reader as it is; without it, it is refitted.
    assert distances[0] == pytest.approx(distances[1])
    plain = prune(dense, pictures()[0], "l1", 0.4)
    refitted = prune(dense, pictures()[0], "l1", 0.4, reconstruct=pictures())
    assert distance(dense, refitted.model, pictures()) < distance(dense, plain.model, pictures())
