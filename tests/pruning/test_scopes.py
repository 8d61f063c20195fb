from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.pruning.coupling import FilterSets, coupled_filters, single_filters
from secateur.pruning.layers import prunable_layers
from secateur.pruning.masks import masks_from_zeros
from secateur.pruning.pruner import Pruner
from secateur.pruning.ranking import (
    plan_masks,
    rank_together,
    rank_within_layers,
    rates_of_sets,
    score_sets,
)
from secateur.pruning.settings import PruningSettings
from secateur.slimming.slim import slim
from tests.pruning.networks import (
    Classifier,
    Concatenation,
    Depthwise,
    Grouped,
    PixelShuffle,
    Plain,
    Residual,
    Scaled,
    Shared,
    Shuffle,
    Split,
    SqueezeExcite,
    Transposed,
    Unused,
    settle_statistics,
)

IMAGES = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
NETWORKS = [
    Classifier,
    Concatenation,
    Depthwise,
    Grouped,
    PixelShuffle,
    Plain,
    Residual,
    Scaled,
    Shared,
    Shuffle,
    Split,
    SqueezeExcite,
    Transposed,
    Unused,
]


class PreActivation(nn.Module):
    """Batch norms behind a sum and a concatenation, as in DenseNet: no layer is right before."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.grow = nn.Conv2d(6, 4, 3, padding=1)
        self.last = nn.BatchNorm2d(10)
        self.head = nn.Conv2d(10, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        grown = self.grow(self.norm(x).relu())
        return self.head(self.last(torch.cat([x, grown], 1)).relu())


class Gate(nn.Module):
    """A zero filter behind a sigmoid writes one half, which a padded layer sees end."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).sigmoid()).relu())


def slimmed(model: nn.Module, scope: str, rate: float) -> tuple[nn.Module, dict[str, Tensor]]:
    """A network that was pruned and slimmed, and the masks that it had."""
    model = copy.deepcopy(model)
    pruner = Pruner(model, (IMAGES,), PruningSettings("l1", rate, scope=scope))
    keep = pruner.plan()
    pruner.apply(keep)
    return slim(model, IMAGES).model, keep


@pytest.mark.parametrize("scope", ["coupled", "global_coupled"])
@pytest.mark.parametrize("network", [*NETWORKS, PreActivation])
def test_coupled_scopes_leave_no_zero_filter_behind(network: type[nn.Module], scope: str) -> None:
    torch.manual_seed(0)
    model = settle_statistics(network())
    slim_model, keep = slimmed(model, scope, rate=0.5)
    pruned = sum(int((~mask).sum()) for mask in keep.values())
    assert pruned > 0
    for name, mask in masks_from_zeros(prunable_layers(slim_model)).items():
        assert mask.all(), name
    for name, layer in prunable_layers(slim_model).items():
        if network is not Unused:  # it loses a whole branch that reaches no output
            assert len(layer.weight.flatten(1)) == int(keep[name].sum()) or isinstance(
                layer, nn.ConvTranspose2d
            )


def test_members_of_a_residual_stream_go_together() -> None:
    model = Residual()
    _, keep = slimmed(model, "coupled", 0.5)
    assert torch.equal(keep["stem"], keep["outer"])
    assert {name: int((~mask).sum()) for name, mask in keep.items()} == {
        "stem": 4,
        "inner": 3,
        "outer": 4,
        "head": 0,
    }


def test_scores_of_a_set_are_the_mean_of_normalised_scores() -> None:
    model = Residual()
    sets = coupled_filters(model, IMAGES, prunable_layers(model))
    torch.manual_seed(0)
    scores = {name: torch.rand(len(of)) * 7 for name, of in sets.of.items()}
    found = score_sets(sets, scores)

    def normal(name: str) -> Tensor:
        return scores[name] / scores[name].square().mean().sqrt()

    expected = (normal("stem") + normal("outer")) / 2
    torch.testing.assert_close(found[sets.of["stem"]].float(), expected)
    torch.testing.assert_close(found[sets.of["inner"]].float(), normal("inner"))


def test_gate_that_stays_constant_is_not_offered() -> None:
    sets = coupled_filters(Gate(), IMAGES, prunable_layers(Gate()))
    assert (sets.of["first"] == -1).all()
    assert (sets.of["second"] >= 0).all()


def test_excluded_layer_keeps_all_it_is_coupled_with() -> None:
    model = Residual()
    pruner = Pruner(model, (IMAGES,), PruningSettings("l1", 0.5, scope="coupled", exclude=["stem"]))
    keep = pruner.plan()
    assert keep["outer"].all()
    assert int((~keep["inner"]).sum()) == 3


def test_lowest_rate_of_a_set_counts() -> None:
    model = Residual()
    groups = {"a": ["stem"], "b": ["outer"]}
    pruner = Pruner(
        model,
        (IMAGES,),
        PruningSettings("l1", 0.5, rates={"a": 0.25, "b": 0.75}, groups=groups, scope="coupled"),
    )
    assert int((~pruner.plan()["outer"]).sum()) == 2


def test_independent_ranking_is_the_published_plan() -> None:
    torch.manual_seed(0)
    model = Residual()
    layers = prunable_layers(model)
    scores = {name: torch.rand(layer.out_channels) for name, layer in layers.items()}
    rates = dict.fromkeys(layers, 0.3)
    sets = single_filters(layers)
    ranking = rank_within_layers(sets, score_sets(sets, scores), rates_of_sets(sets, rates))
    masks = sets.masks(ranking.removed(), ranking.scores)
    for name, mask in plan_masks(scores, rates).items():
        assert torch.equal(masks[name], mask)


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    rate=st.floats(0, 0.99),
    min_keep=st.floats(0, 0.9),
    seed=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_global_ranking_keeps_its_floor_and_removes_the_lowest(
    sizes: list[int], rate: float, min_keep: float, seed: int
) -> None:
    torch.manual_seed(seed)
    layers = {str(i): nn.Conv2d(1, size, 1) for i, size in enumerate(sizes)}
    sets = single_filters(layers)
    scores = torch.rand(sum(sizes), dtype=torch.float64)
    rates = torch.full((sum(sizes),), rate, dtype=torch.float64)
    ranking = rank_together(sets, scores, rates, torch.zeros(sum(sizes)).long(), min_keep)
    gone = ranking.removed()
    protected = []
    for part in scores.split(sizes):
        floor = max(1, -int(-(min_keep * len(part) - 1e-9) // 1))
        protected.append(part >= part.sort(descending=True).values[floor - 1])
    free = ~torch.cat(protected)
    assert not (gone & ~free).any()
    assert int(gone.sum()) == min(int(rate * sum(sizes)), int(free.sum()))
    if gone.any() and (free & ~gone).any():
        assert scores[gone].max() <= scores[free & ~gone].min()
    order = ranking.order()
    assert torch.equal(torch.sort(order[: int(gone.sum())]).values, gone.nonzero()[:, 0])


def test_groups_with_a_rate_are_ranked_in_themselves() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 10, 1), nn.Conv2d(10, 20, 1), nn.Conv2d(20, 30, 1))
    pruner = Pruner(
        model,
        (IMAGES,),
        PruningSettings("l1", 0.5, rates={"a": 0.1}, groups={"a": ["0"]}, scope="global"),
    )
    gone = {name: int((~mask).sum()) for name, mask in pruner.plan().items()}
    assert gone["0"] == 1
    assert gone["1"] + gone["2"] == 25


def test_groups_of_a_convolution_shrink_together_under_a_global_ranking() -> None:
    torch.manual_seed(0)
    model = Grouped()
    pruner = Pruner(model, (IMAGES,), PruningSettings("l1", 0.5, scope="global_coupled"))
    keep = pruner.plan()
    for name in ("first", "grouped"):
        counts = keep[name].view(2, -1).sum(1)
        assert counts[0] == counts[1]


def test_unknown_scope_and_impossible_combinations_are_refused() -> None:
    model = Plain()
    with pytest.raises(InputError, match="did you mean coupled"):
        Pruner(model, (IMAGES,), PruningSettings("l1", 0.5, scope="couple"))
    with pytest.raises(InputError, match="mask_batchnorm"):
        Pruner(model, (IMAGES,), PruningSettings("l1", 0.5, scope="coupled", mask_batchnorm=False))
    with pytest.raises(InputError, match="min_keep"):
        Pruner(model, (IMAGES,), PruningSettings("l1", 0.5, min_keep=1.0))
    with pytest.raises(InputError, match="has no channels that can be removed"):
        Pruner(
            nn.Sequential(nn.Conv2d(3, 4, 1)),
            (IMAGES,),
            PruningSettings("l1", 0.5, scope="coupled"),
        )


def test_fractions_of_a_rate_remove_ever_more() -> None:
    model = Residual()
    pruner = Pruner(model, (IMAGES,), PruningSettings("l1", 0.6, scope="coupled"))
    before: dict[str, Tensor] = {}
    for fraction in (0.2, 0.5, 0.8, 1.0):
        keep = pruner.plan(fraction)
        for name, mask in before.items():
            assert not (keep[name] & ~mask).any()
        before = keep


def test_sets_never_overlap_between_units() -> None:
    sets: FilterSets = coupled_filters(Shuffle(), IMAGES, prunable_layers(Shuffle()))
    assert len(sets.layer_set) == len(sets.filters) == len(sets.tied_sets)
    assert int(sets.layer_set.max()) + 1 == len(sets.layer_set.unique())
