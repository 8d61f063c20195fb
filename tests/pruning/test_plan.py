from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from secateur.pruning.criteria import score_layers
from secateur.pruning.plan import number_to_prune, plan_masks
from tests.pruning.golden import convolutions, pruning_runs, weights_of

HEADS = ("loc.", "conf.")


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 4096))
def test_floor_rule(rate: float, n_filters: int) -> None:
    pruned = number_to_prune(rate, n_filters)
    assert 0 <= pruned < n_filters
    assert abs(pruned - rate * n_filters) <= 1


def test_floor_rule_truncates_doubles_as_they_are() -> None:
    assert number_to_prune(0.29, 100) == 28
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


def golden_keep(
    scores: dict[str, Tensor], runs: dict[str, Any], rates: list[float]
) -> dict[str, Tensor]:
    """Masks for rates per group of the golden file; layers in no group stay whole."""
    of_layer = {
        # The golden file names the fusion part both fpn and layer6.
        layer["name"].replace("m0.fpn.", "m0.layer6."): rate
        for group, rate in zip(runs["group_layers"], rates, strict=True)
        for layer in group
    }
    return plan_masks(scores, {name: of_layer.get(name, 0.0) for name in scores})


def same_up_to_ties(score: Tensor, ours: set[int], golden: set[int], ties: set[int]) -> bool:
    """Whether two choices differ only in filters that tie, exactly or within 1e-6."""
    if len(ours) != len(golden):
        return False
    swapped = ours ^ golden
    if swapped <= ties:
        return True
    values = score[sorted(swapped)].double()
    return bool(values.max() - values.min() <= 1e-6 * values.max())


def zeros(keep: dict[str, Tensor], weights: dict[str, Tensor]) -> int:
    """Parameters that a mask zeroes: those of the filters that go, and their bias."""
    return sum(
        int((~mask).sum()) * (weights[name][0].numel() + (f"{name}.bias" in weights))
        for name, mask in keep.items()
    )


@pytest.mark.parametrize("model", ["eresfd", "extd"])
@pytest.mark.parametrize("criterion", ["FPGM", "l1"])
def test_masks_equal_the_golden_ones(reference: Path, model: str, criterion: str) -> None:
    golden = pruning_runs(reference, model)
    weights = weights_of(reference, model)
    names = golden["runs"]["FPGM_uniform0.5"]["masks"]
    layers = convolutions({name: weights[name] for name in names})
    scores = score_layers(layers, criterion.lower())
    chosen = [name for name in golden["runs"] if name.startswith(f"{criterion}_")]
    assert len(chosen) == {"eresfd": 11, "extd": 6}[model]
    for run in chosen:
        expected = golden["runs"][run]
        keep = golden_keep(scores, golden, expected["rates"])
        ambiguous = golden["ambiguous_cuts"].get(run, {})
        for name, mask in expected["masks"].items():
            ours = set((~keep[name]).nonzero().flatten().tolist())
            theirs = set(mask["zero"])
            ties = set(ambiguous[name]["tie_indices"]) if name in ambiguous else set()
            assert same_up_to_ties(scores[name], ours, theirs, ties), f"{run} {name}"


@pytest.mark.parametrize("grouping", ["shipped", "inferred"])
def test_eresfd_sparsities_of_both_groupings(reference: Path, grouping: str) -> None:
    golden = pruning_runs(reference, "eresfd")
    weights = weights_of(reference, "eresfd")
    some_run = golden["one_shot_by_grouping"]["shipped_10"]["masks"]
    scores = score_layers(convolutions({name: weights[name] for name in some_run}), "fpgm")
    groups = golden["groups"] if grouping == "shipped" else golden["inferred_groups"]
    for percent, rates in golden["rates"].items():
        expected = golden["one_shot_by_grouping"][f"{grouping}_{percent}"]
        of_layer = {
            name: rate
            for containers, rate in zip(groups, rates, strict=True)
            for name in scores
            if name.replace("m0.layer6.", "m0.fpn.").startswith(
                tuple(f"{container}." for container in containers)
            )
        }
        keep = plan_masks(scores, {name: of_layer.get(name, 0.0) for name in scores})
        for name, theirs in expected["masks"].items():
            ours = set((~keep[name]).nonzero().flatten().tolist())
            # Squares of denormal weights underflow in the float32 of the golden run: those tie.
            ties = set((scores[name] < 1e-18).nonzero().flatten().tolist())
            assert same_up_to_ties(scores[name], ours, set(theirs), ties), f"{percent} {name}"
        found = 100 * (zeros(keep, weights) + 80) / 92_208  # 80 biases were never trained
        assert found == pytest.approx(expected["sparsity_percent"], abs=1e-9)


@pytest.mark.parametrize(("model", "parameters"), [("eresfd", 92_208), ("extd", 162_352)])
@pytest.mark.parametrize("criterion", ["FPGM", "l1"])
def test_sparsities_of_one_rate_for_all(
    reference: Path, model: str, parameters: int, criterion: str
) -> None:
    path = reference / "golden" / "pruning" / f"bfpgm_{model}_wholemodel_sparsity.json"
    golden = json.loads(path.read_text())
    weights = weights_of(reference, model)
    names = [
        name
        for name in pruning_runs(reference, model)["runs"]["FPGM_uniform0.5"]["masks"]
        if not name.startswith(HEADS)
    ]
    scores = score_layers(convolutions({name: weights[name] for name in names}), criterion.lower())
    for rate in (0.1, 0.2, 0.3, 0.4, 0.5):
        keep = plan_masks(scores, dict.fromkeys(scores, rate))
        already = 0 if model == "extd" else 80
        found = 100 * (zeros(keep, weights) + already) / parameters
        assert found == pytest.approx(golden[f"{criterion}_{rate}"], abs=1e-9), rate
