from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.errors import InputError
from secateur.metrics.verification import best_threshold, consecutive_folds, fold_accuracy


def test_a_case_by_hand() -> None:
    """Three folds of four pairs, genuine before impostors.

    Fold 0 is judged by folds 1 and 2: genuine .8 .7 .6 .9, impostors .3 .2 .5 .4, which the gap
    between .5 and .6 parts: threshold .55, at which fold 0 (.9 .5 | .1 .6) has two faults.
    Fold 1 (.8 .7 | .3 .2) is judged by folds 0 and 2: genuine .9 .5 .6 .9, impostors .1 .6 .5 .4.
    Six of eight are right between .4 and .5 (faults: .6 and .5 of the impostors), and six above
    both .6 (faults: .5 and .6 of the genuine); the highest is between .6 and .9: .75, at which
    fold 1 has one fault (.7).
    Fold 2 (.6 .9 | .5 .4) is judged by folds 0 and 1: genuine .9 .5 .8 .7, impostors .1 .6 .3 .2.
    Seven are right between .3 and .5 (fault: .6) and between .6 and .7 (fault: .5); the highest
    is .65, at which fold 2 has one fault (.6).
    """
    scores = [0.9, 0.5, 0.1, 0.6, 0.8, 0.7, 0.3, 0.2, 0.6, 0.9, 0.5, 0.4]
    same = [1, 1, 0, 0] * 3
    result = fold_accuracy(scores, same, np.repeat([0, 1, 2], 4))
    np.testing.assert_allclose(result.thresholds, [0.55, 0.75, 0.65])
    np.testing.assert_array_equal(result.accuracies, [0.5, 0.75, 0.75])
    assert result.mean == pytest.approx(2 / 3)
    # sample deviation of (.5, .75, .75) is .25 / sqrt(3), divided by sqrt(3)
    assert result.standard_error == pytest.approx(0.25 / 3)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 5))
def test_folds_equal_trying_every_threshold(seed: int, levels: int, n_folds: int) -> None:
    random = np.random.default_rng(seed)
    n = 30
    scores, same = random.integers(0, levels, n) / 3, random.random(n) < 0.5
    fold = random.permutation(np.arange(n) % n_folds) * 7 - 3
    result = fold_accuracy(scores, same, fold)
    assert list(result.folds) == sorted(set(fold))
    for label, accuracy, threshold in zip(
        result.folds, result.accuracies, result.thresholds, strict=True
    ):
        rest = fold != label
        steps = sorted(set(scores[rest]))
        middles = [(a + b) / 2 for a, b in itertools.pairwise(steps)]
        candidates = [-np.inf, *middles, np.inf]
        right = [int(np.sum((scores[rest] >= t) == same[rest])) for t in candidates]
        expected = max(t for t, r in zip(candidates, right, strict=True) if r == max(right))
        assert threshold == pytest.approx(expected)
        assert accuracy == np.mean((scores[~rest] >= expected) == same[~rest])


def test_the_threshold_does_not_see_its_own_fold() -> None:
    same = np.array([1, 0, 1, 0])
    for moved in (0.1, 0.45, 0.9):
        scores = np.array([0.8, 0.2, moved, moved / 2])
        assert fold_accuracy(scores, same, [0, 0, 1, 1]).thresholds[1] == pytest.approx(0.5)


def test_neighbouring_numbers_are_parted() -> None:
    low = np.float64(0.3)
    high = np.nextafter(low, 1)
    assert best_threshold(np.array([low, high]), np.array([False, True])) == high


def test_accepting_all_or_nothing_may_be_best() -> None:
    scores = np.array([0.1, 0.2, 0.3])
    assert best_threshold(scores, np.ones(3, bool)) == -np.inf
    assert best_threshold(scores, np.zeros(3, bool)) == np.inf


def test_consecutive_folds() -> None:
    assert list(consecutive_folds(7, 3)) == [0, 0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(consecutive_folds(6000), np.repeat(np.arange(10), 600))
    with pytest.raises(InputError, match="5 pairs cannot be cut into 10 folds"):
        consecutive_folds(5)


def test_bad_input_is_told() -> None:
    with pytest.raises(InputError, match="at least two folds"):
        fold_accuracy([0.1, 0.2], [True, False], [3, 3])
    with pytest.raises(InputError, match="as many fold numbers"):
        fold_accuracy([0.1, 0.2], [True, False], [3])
