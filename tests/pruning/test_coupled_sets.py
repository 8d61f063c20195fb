from __future__ import annotations

import torch
from torch import nn

from secateur.pruning.coupled_sets import CoupledSet, find_coupled_sets
from tests.pruning.networks import (
    Classifier,
    Concatenation,
    Depthwise,
    Grouped,
    Normalized,
    Residual,
    Shared,
)

IMAGES = torch.zeros(1, 3, 12, 12)


def by_filter(sets: tuple[CoupledSet, ...]) -> dict[tuple[str, int], CoupledSet]:
    return {member: s for s in sets for member in s.filters}


def test_every_filter_is_in_one_set() -> None:
    for model in (Residual(), Concatenation(), Depthwise(2), Grouped(), Shared()):
        members = [member for s in find_coupled_sets(model, IMAGES).sets for member in s.filters]
        layers = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
        assert sorted(members) == sorted(
            (name, i) for name in layers for i in range(model.get_submodule(name).out_channels)
        )


def test_residual_partners_are_together_and_outputs_stay() -> None:
    sets = by_filter(find_coupled_sets(Residual(), IMAGES).sets)
    assert sets["stem", 3].filters == (("stem", 3), ("outer", 3))
    assert sets["inner", 2].filters == (("inner", 2),)
    assert sets["inner", 2].removable
    assert sets["head", 0].reason == "it is an output of the network"


def test_depthwise_filters_belong_to_their_channel() -> None:
    sets = by_filter(find_coupled_sets(Depthwise(2), IMAGES).sets)
    assert sets["expand", 1].filters == (("expand", 1), ("depthwise", 2), ("depthwise", 3))


def test_batch_norm_channels_are_listed() -> None:
    sets = by_filter(find_coupled_sets(Shared(), IMAGES).sets)
    assert sets["expand", 7].norms == (("norm", 7),)


def test_groups_are_balanced_by_giving_the_most_important_back() -> None:
    found = find_coupled_sets(Grouped(), IMAGES)
    numbers = {member: n for n, s in enumerate(found.sets) for member in s.filters}
    assert len(found.equal) == 2
    assert sorted(map(len, found.equal[0])) == [4, 4]
    chosen = [numbers["first", i] for i in (0, 1, 6)]
    scores = [0.0] * len(found.sets)
    scores[numbers["first", 0]] = 1.0
    assert found.removable_of(chosen, scores) == {numbers["first", 1], numbers["first", 6]}
    everything = range(len(found.sets))
    kept = set(everything) - found.removable_of(everything, scores)
    assert {m for n in kept for m in found.sets[n].filters} >= {("first", 0), ("head", 1)}


def test_pinned_sets_say_why() -> None:
    sets = by_filter(find_coupled_sets(Normalized(), IMAGES).sets)
    assert sets["stem", 0].reason == "norm (layer_norm) normalises over channels"
    assert ("down", 0) in sets["stem", 0].filters
    assert sets["up", 0].removable


def test_sizes_that_are_written_down_are_found() -> None:
    assert by_filter(find_coupled_sets(Classifier(), IMAGES).sets)["first", 0].removable
    sets = by_filter(find_coupled_sets(Classifier(fixed=True), IMAGES).sets)
    assert "written down" in sets["first", 0].reason
    assert sets["hidden", 0].removable
