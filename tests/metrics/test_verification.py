from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from secateur.metrics.roc import roc_of_counts
from secateur.metrics.verification import fold_accuracy, verification_of_roc, verify


@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 50, 10**9]))
def test_figures_equal_scikit_learn(seed: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    same = np.arange(240) % 2 == 0
    scores = (random.integers(0, levels, 240) + same * levels // 3).astype(np.float32) / levels
    fold = np.arange(240) // 24
    result = verify(scores, same, fold)
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    assert result.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    assert result.tar_at_far == {
        "1e-1": tar[far <= 0.1].max(),
        "1e-2": tar[far <= 0.01].max(),
    }
    # the crossing is where the curve, drawn with straight lines, meets FAR + TAR = 1
    crossing = np.interp(0, far + tar - 1, far)
    assert result.eer == pytest.approx(crossing, abs=1e-12)
    assert result.record()["accuracy"] == fold_accuracy(scores, same, fold).mean


def test_too_few_pairs_are_told() -> None:
    result = verify(np.linspace(0, 1, 40), np.arange(40) >= 20, np.zeros(40))
    assert list(result.record()) == ["eer", "auc", "tar_at_far_1e-1"]
    assert result.unsupported["tar_at_far_1e-3"] == (
        "Too few pairs: FAR 1e-3 needs 1,000 pairs of different people, there are 20."
    )
    assert list(result.unsupported) == [
        "accuracy", "tar_at_far_1e-2", "tar_at_far_1e-3", "tar_at_far_1e-4", "tar_at_far_1e-5",
        "tar_at_far_1e-6",
    ]  # fmt: skip


def test_a_million_impostors_support_every_rate() -> None:
    result = verification_of_roc(roc_of_counts([0.1, 0.5, 0.9], [1, 2, 1], [999_999, 0, 1]))
    assert result.tar_at_far["1e-6"] == 0.75
    assert list(result.unsupported) == ["accuracy"]
