from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, nn
from torch.nn import functional

from secateur.pruning.coupled_sets import find_coupled_sets
from tests.pruning.networks import mask
from tests.slimming.random_networks import RandomNetwork
from tests.slimming.test_slim import IMAGES, checked
from tests.slimming.test_slimming_properties import check_coupled, check_slimming

WRITTEN_DOWN = {"the forward reshapes it to a size that is written down"}


def shuffle(x: Tensor, rows: int, columns: int) -> Tensor:
    """Deal channels out: what lies in rows comes to lie in columns."""
    b, c, h, w = x.shape
    return x.view(b, rows, columns, h, w).transpose(1, 2).reshape(b, c, h, w)


def two_groups(x: Tensor) -> Tensor:
    return shuffle(x, 2, x.shape[1] // 2)


def groups_of_two(x: Tensor) -> Tensor:
    return shuffle(x, x.shape[1] // 2, 2)


def two_groups_of_four(x: Tensor) -> Tensor:
    return shuffle(x, 2, 4)


def last_dimension(x: Tensor) -> Tensor:
    """Two groups again, channels last, and the size left to the reshape."""
    x = x.movedim(1, -1)
    return x.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2).movedim(-1, 1)


def there_and_back(x: Tensor) -> Tensor:
    return functional.pixel_unshuffle(functional.pixel_shuffle(x, 2), 2)


class Between(nn.Module):
    """Two convolutions with 8 channels between them, which are moved about."""

    def __init__(self, *moves: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.second = nn.Conv2d(8, 5, 3, padding=1)
        self.moves = moves

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        for move in self.moves:
            x = move(x)
        return self.second(x)


# What goes, out of eight; the rest stays.
@pytest.mark.parametrize(
    ("moves", "masked", "kept"),
    [
        ((two_groups,), [2, 3, 6], (0, 1, 3, 4, 5, 7)),
        ((last_dimension,), [2, 3, 6], (0, 1, 3, 4, 5, 7)),
        ((groups_of_two,), [2, 3, 6], (0, 1, 4, 5, 6, 7)),
        ((groups_of_two,), [4, 5, 6, 7], (0, 1, 2, 3)),
        # A row of the second shuffle is dead, but its two rows are written down.
        ((two_groups, two_groups), [0, 2, 4, 6], (1, 3, 5, 7)),
        ((two_groups, two_groups), [0, 4], tuple(range(8))),
        ((two_groups, two_groups, two_groups), [0, 2, 4, 6], tuple(range(8))),
        ((two_groups, groups_of_two), [0, 4], (1, 2, 3, 5, 6, 7)),
        ((there_and_back,), [2, 4, 5, 6, 7], (0, 1, 2, 3)),
    ],
)
def test_channels_go_along_the_size_that_is_computed(
    moves: tuple[Callable[[Tensor], Tensor], ...], masked: list[int], kept: tuple[int, ...]
) -> None:
    model = Between(*moves).eval()
    mask(model.first, masked)
    report = checked(model).report
    assert report.kept["first"] == kept
    assert not WRITTEN_DOWN & report.refused.get("first", {}).keys()


def test_only_the_reshape_that_is_written_down_keeps_its_channels() -> None:
    model = nn.Sequential(Between(two_groups_of_four), Between(two_groups))
    model[0].second = nn.Conv2d(8, 3, 1)
    mask(model[0].first, [2, 6])
    mask(model[1].first, [2, 6])
    report = checked(model.eval()).report
    assert report.refused == {"0.first": dict.fromkeys(WRITTEN_DOWN, 2)}
    assert report.kept["1.first"] == (0, 1, 3, 4, 5, 7)


def test_channel_sets_know_the_size_that_is_computed() -> None:
    def sets(*moves: Callable[[Tensor], Tensor]) -> list[list[int]]:
        found = find_coupled_sets(Between(*moves), IMAGES).sets
        return [[i for layer, i in s.filters if layer == "first"] for s in found if s.removable]

    assert sets(two_groups) == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert sets(groups_of_two) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert sets(two_groups, two_groups) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert sets(two_groups_of_four) == []


def test_layers_of_every_kind_are_doubled() -> None:
    """Grouped and depthwise convolutions, batch norms and slopes lie on the way to a shuffle."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.BatchNorm2d(8),
        nn.PReLU(8),
        nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False),
        Between(two_groups),
    )
    model[-1].first = nn.Identity()
    model[-1].second = nn.Conv2d(16, 2, 1)
    mask(model[1], [1, 5], model[2])
    slimmed = checked(model.eval()).model
    assert (slimmed[1].groups, slimmed[1].out_channels) == (2, 6)
    assert (slimmed[4].groups, slimmed[4].out_channels) == (6, 12)


@pytest.mark.parametrize(("seed", "share"), [(0, 0.8), (5, 0.8), (6, 0.8)])
def test_shuffles_behind_a_pixel_shuffle(seed: int, share: float) -> None:
    kinds = ["pixel_shuffle", "channel_shuffle", "channel_shuffle", "scaled"]
    check_slimming(RandomNetwork(kinds, seed), seed, share)


@pytest.mark.parametrize(("seed", "count"), [(0, 2), (6, 2), (0, 3), (2, 3)])
def test_shuffles_in_a_row(seed: int, count: int) -> None:
    kinds = ["channel_shuffle"] * count
    check_slimming(RandomNetwork(kinds, seed), seed, 0.8)


@pytest.mark.parametrize("seed", [1, 2])
def test_sets_of_shuffles_in_a_row_leave_no_zero_filter(seed: int) -> None:
    model = RandomNetwork(["channel_shuffle"] * 3, seed, zero_stays_zero=True)
    check_coupled(model, seed)
