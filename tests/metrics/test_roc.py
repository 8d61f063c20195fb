from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from secateur.errors import InputError
from secateur.metrics.roc import (
    area_under_curve,
    equal_error,
    pairs_needed,
    roc_of_counts,
    roc_of_scores,
    tar_at_far,
)

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]

# few levels make ties, many make none
labeled_scores = st.sampled_from([2, 5, 40, 10**6]).flatmap(
    lambda levels: st.lists(
        st.tuples(st.integers(0, levels), st.booleans()), min_size=2, max_size=60
    ).filter(lambda pairs: len({same for _, same in pairs}) == 2)
)


def unzip(pairs: list[tuple[int, bool]]) -> tuple[Scores, Labels]:
    scores, same = zip(*pairs, strict=True)
    return np.array(scores) / 7.0, np.array(same)


def naive_rates(scores: Scores, same: Labels, threshold: float) -> tuple[float, float]:
    """False and true accept rate by counting."""
    accepted = [score >= threshold for score in scores]
    far = sum(a and not s for a, s in zip(accepted, same, strict=True)) / np.sum(~same)
    tar = sum(a and s for a, s in zip(accepted, same, strict=True)) / np.sum(same)
    return float(far), float(tar)


def naive_auc(scores: Scores, same: Labels) -> float:
    """Share of genuine-impostor couples in the right order, equal ones for one half."""
    wins = [(g > i) + 0.5 * (g == i) for g in scores[same] for i in scores[~same]]
    return float(np.mean(wins))


def naive_eer(scores: Scores, same: Labels) -> float:
    """Bisect the line between the points of the curve for FAR = FRR."""
    points = [(0.0, 0.0)]
    points += [naive_rates(scores, same, t) for t in sorted(set(scores), reverse=True)]
    for (far, tar), (next_far, next_tar) in itertools.pairwise(points):
        if next_far >= 1 - next_tar:
            low, high = 0.0, 1.0
            for _ in range(60):
                middle = (low + high) / 2
                if far + middle * (next_far - far) < 1 - tar - middle * (next_tar - tar):
                    low = middle
                else:
                    high = middle
            return far + high * (next_far - far)
    raise AssertionError("the curve ends at FAR 1, FRR 0")


@given(labeled_scores)
def test_figures_equal_scikit_learn_and_counting(pairs: list[tuple[int, bool]]) -> None:
    scores, same = unzip(pairs)
    roc = roc_of_scores(scores, same)
    far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc.far, far, atol=1e-15)
    np.testing.assert_allclose(roc.tar, tar, atol=1e-15)
    np.testing.assert_array_equal(roc.thresholds, thresholds)
    np.testing.assert_allclose(roc.frr, 1 - tar, atol=1e-15)
    assert area_under_curve(roc) == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    assert area_under_curve(roc) == pytest.approx(naive_auc(scores, same), abs=1e-12)
    assert equal_error(roc)[0] == pytest.approx(naive_eer(scores, same), abs=1e-12)
    for bound in (0.03, 0.1, 0.5, 1.0):
        rates = [naive_rates(scores, same, t) for t in [np.inf, *scores]]
        expected = max(tar for far, tar in rates if far <= bound)
        enough = roc.n_impostor >= pairs_needed(bound)
        assert tar_at_far(roc, bound) == (expected if enough else None)


@given(labeled_scores)
def test_the_equal_error_threshold_is_the_first_with_far_not_below_frr(
    pairs: list[tuple[int, bool]],
) -> None:
    scores, same = unzip(pairs)
    _, threshold = equal_error(roc_of_scores(scores, same))
    for candidate in scores:
        far, tar = naive_rates(scores, same, candidate)
        if candidate > threshold:
            assert far < 1 - tar + 1e-12
        elif candidate == threshold:
            assert far >= 1 - tar - 1e-12


@given(labeled_scores)
def test_counts_of_distinct_scores_give_the_same_curve(pairs: list[tuple[int, bool]]) -> None:
    scores, same = unzip(pairs)
    levels, position = np.unique(scores, return_inverse=True)
    counts = [np.bincount(position[part], minlength=len(levels)) for part in (same, ~same)]
    ours, expected = roc_of_counts(levels, *counts), roc_of_scores(scores, same)
    np.testing.assert_array_equal(ours.thresholds, expected.thresholds)
    np.testing.assert_array_equal(ours.false_accepts, expected.false_accepts)
    np.testing.assert_array_equal(ours.true_accepts, expected.true_accepts)


def test_a_case_by_hand() -> None:
    """Genuine .9 .8 .4, impostors .8 .3 .2 .1: equal errors lie on the line of the tie at .8."""
    roc = roc_of_scores([0.9, 0.8, 0.4, 0.8, 0.3, 0.2, 0.1], [1, 1, 1, 0, 0, 0, 0])
    # from (FAR, FRR) = (0, 2/3) through (1/4, 1/3) to (1/4, 0): FAR = FRR = 1/4 on the last line
    assert equal_error(roc) == (0.25, 0.4)
    assert area_under_curve(roc) == pytest.approx(10.5 / 12)
    assert tar_at_far(roc, 0.25) == 1.0
    assert tar_at_far(roc, 0.24) is None


def test_all_equal_scores_tell_nothing() -> None:
    roc = roc_of_scores(np.full(40, 0.3), np.arange(40) < 10)
    assert equal_error(roc)[0] == 0.5
    assert area_under_curve(roc) == 0.5
    assert tar_at_far(roc, 0.1) == 0.0


def test_separated_scores_have_no_error() -> None:
    roc = roc_of_scores(np.arange(40), np.arange(40) >= 20)
    assert equal_error(roc) == (0.0, 20.0)
    assert area_under_curve(roc) == 1.0
    assert tar_at_far(roc, 0.1) == 1.0


@pytest.mark.parametrize(("far", "needed"), [(1e-1, 10), (1e-3, 1000), (1e-6, 10**6), (0.3, 4)])
def test_bounds_are_decimal_numbers(far: float, needed: int) -> None:
    assert pairs_needed(far) == needed
    for n in (needed - 1, needed, 3 * needed):
        # the genuine pair lies below as many impostors as the bound allows, and not one more
        allowed = int(round(n * far, 6))
        roc = roc_of_counts([0, 1, 2], [0, 1, 0], [n - allowed, 0, allowed])
        assert tar_at_far(roc, far) == (1.0 if allowed else None)


def test_bad_input_is_told() -> None:
    with pytest.raises(InputError, match="score of pair 1 is not finite"):
        roc_of_scores([0.1, np.nan], [True, False])
    with pytest.raises(InputError, match="one score and one label"):
        roc_of_scores([0.1, 0.2], [True])
    with pytest.raises(InputError, match="got 0 and 2"):
        roc_of_scores([0.1, 0.2], [False, False])
    with pytest.raises(InputError, match="got 2 and 0"):
        roc_of_scores([0.1, 0.2], [True, True])
    with pytest.raises(InputError, match="got 0 and 0"):
        roc_of_scores([], [])
    with pytest.raises(ValueError, match="far must be"):
        tar_at_far(roc_of_scores([0.1, 0.2], [True, False]), 0.0)
