from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from secateur.cost.parameters import sparsity
from secateur.detectors import eresfd
from secateur.pruning.criteria import score_layers
from secateur.pruning.layers import prunable_layers, rates_per_layer, resolve_groups
from secateur.pruning.masks import apply_masks
from secateur.pruning.ranking import number_to_prune, plan_masks
from tests.pruning.golden import canonical, masks_of, pruning_runs, published


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 4096))
def test_floor_rule(rate: float, n_filters: int) -> None:
    pruned = number_to_prune(rate, n_filters)
    assert 0 <= pruned < n_filters
    assert abs(pruned - rate * n_filters) <= 1


def test_floor_rule_is_that_of_paper() -> None:
    assert number_to_prune(0.29, 100) == 29
    assert number_to_prune(0.1, 8) == 0
    assert number_to_prune(0.6, 5) == 3
    assert number_to_prune(0.9999999999999999, 4096) == 4095
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\), got 1"):
        number_to_prune(1.0, 8)


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=20), min_size=1, max_size=6),
    st.data(),
)
@settings(max_examples=100, deadline=None)
def test_the_lowest_scores_go_and_ties_go_in_order(scores: list[list[int]], data: Any) -> None:
    named = {f"layer{i}": torch.tensor(s, dtype=torch.float32) for i, s in enumerate(scores)}
    rates = {name: data.draw(st.floats(0, 1, exclude_max=True)) for name in named}
    keep = plan_masks(named, rates)
    assert list(keep) == list(named)
    for name, score in named.items():
        expected = sorted(range(len(score)), key=lambda i: (score[i].item(), i))
        expected = sorted(expected[: number_to_prune(rates[name], len(score))])
        assert (~keep[name]).nonzero().flatten().tolist() == expected
        assert keep[name].dtype == torch.bool


def test_layer_without_rate() -> None:
    with pytest.raises(ValueError, match="no rate for a"):
        plan_masks({"a": torch.ones(3)}, {})


def planned(
    model: nn.Module, criterion: str, rates: list[float], groups: dict[str, tuple[str, ...]]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Scores and masks for rates per group; layers in no group stay whole."""
    layers = prunable_layers(model)
    resolved = resolve_groups(groups, layers)
    of_group = dict(zip(resolved, rates, strict=True))
    scores = score_layers(layers, criterion)
    return scores, plan_masks(scores, rates_per_layer(0.0, of_group, resolved, layers))


def pruned(mask: Tensor) -> set[int]:
    return set((~mask).nonzero().flatten().tolist())


def same_up_to_ties(score: Tensor, ours: set[int], golden: set[int], ties: set[int]) -> bool:
    """Whether two choices differ only in filters that tie, exactly or within 1e-6."""
    if len(ours) != len(golden):
        return False
    swapped = ours ^ golden
    if swapped <= ties:
        return True
    values = score[sorted(swapped)].double()
    return bool(values.max() - values.min() <= 1e-6 * values.max())


@pytest.mark.parametrize("model", ["eresfd", "extd"])
@pytest.mark.parametrize("criterion", ["FPGM", "l1"])
def test_masks_and_sparsities_equal_the_golden_ones(
    reference: Path, model: str, criterion: str
) -> None:
    golden = pruning_runs(reference, model)
    groups = {
        str(number): tuple(canonical(f"{container}.").removesuffix(".") for container in containers)
        for number, containers in enumerate(golden["groups"])
    }
    chosen = [name for name in golden["runs"] if name.startswith(f"{criterion}_")]
    assert len(chosen) == {"eresfd": 11, "extd": 6}[model]
    for run in chosen:
        network = published(reference, model)
        expected = golden["runs"][run]
        scores, keep = planned(network, criterion.lower(), expected["rates"], groups)
        cuts = golden["ambiguous_cuts"].get(run, {}).items()
        ambiguous = {canonical(name): set(cut["tie_indices"]) for name, cut in cuts}
        masks = masks_of(expected)
        assert masks.keys() == keep.keys()
        for name, theirs in masks.items():
            ties = ambiguous.get(name, set())
            assert same_up_to_ties(scores[name], pruned(keep[name]), theirs, ties), f"{run} {name}"
        apply_masks(network, keep)
        assert 100 * sparsity(network) == pytest.approx(expected["sparsity_percent"], abs=1e-9)


@pytest.mark.parametrize("table", ["script", "released"])
def test_eresfd_with_both_tables_of_groups(reference: Path, table: str) -> None:
    golden = pruning_runs(reference, "eresfd")
    prefix = {"script": "shipped", "released": "inferred"}[table]
    for percent, rates in golden["rates"].items():
        network = published(reference, "eresfd")
        expected = golden["one_shot_by_grouping"][f"{prefix}_{percent}"]
        scores, keep = planned(network, "fpgm", rates, eresfd.GROUPS[table])
        for name, theirs in masks_of(expected).items():
            # Squares of denormal weights underflow in the float32 of the golden run: those tie.
            ties = pruned(scores[name] >= 1e-18)
            assert same_up_to_ties(scores[name], pruned(keep[name]), theirs, ties), name
        apply_masks(network, keep)
        assert 100 * sparsity(network) == pytest.approx(expected["sparsity_percent"], abs=1e-9)


@pytest.mark.parametrize("model", ["eresfd", "extd"])
@pytest.mark.parametrize("criterion", ["FPGM", "l1"])
def test_sparsities_of_one_rate_for_all_but_the_heads(
    reference: Path, model: str, criterion: str
) -> None:
    path = reference / "golden" / "pruning" / f"bfpgm_{model}_wholemodel_sparsity.json"
    golden = json.loads(path.read_text())
    for rate in (0.1, 0.2, 0.3, 0.4, 0.5):
        network = published(reference, model)
        layers = prunable_layers(network, eresfd.HEADS)
        keep = plan_masks(score_layers(layers, criterion.lower()), dict.fromkeys(layers, rate))
        apply_masks(network, keep)
        expected = golden[f"{criterion}_{rate}"]
        assert 100 * sparsity(network) == pytest.approx(expected, abs=1e-9), rate
