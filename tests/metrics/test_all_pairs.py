from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from secateur.errors import InputError
from secateur.metrics.all_pairs import histogram_all_pairs, roc_all_pairs
from secateur.metrics.embeddings import Measure, compare_pairs
from secateur.metrics.roc import (
    Roc,
    area_under_curve,
    equal_error,
    histogram_of_scores,
    roc_of_scores,
    tar_at_far,
)

MEASURES = pytest.mark.parametrize("measure", ["cosine", "euclidean"])


def draw(n: int = 90, dimension: int = 8) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    identity = torch.randint(0, 9, (n,), generator=random)
    centers = torch.randn(9, dimension, generator=random)
    return centers[identity] + 0.8 * torch.randn(n, dimension, generator=random), identity


def score_all(embeddings: Tensor, identity: Tensor, measure: Measure) -> tuple[Tensor, Tensor]:
    first, second = torch.tensor(list(combinations(range(len(embeddings)), 2))).T
    scores = compare_pairs(embeddings, first, second, measure)
    return scores, identity[first] == identity[second]


def check_same_figures(got: Roc, expected: Roc, tolerance: float) -> None:
    assert (got.n_genuine, got.n_impostor) == (expected.n_genuine, expected.n_impostor)
    assert equal_error(got)[0] == pytest.approx(equal_error(expected)[0], abs=tolerance)
    assert area_under_curve(got) == pytest.approx(area_under_curve(expected), abs=tolerance)
    for far in (1e-1, 1e-2, 1e-3):
        assert tar_at_far(got, far) == pytest.approx(tar_at_far(expected, far), abs=tolerance)


@MEASURES
@pytest.mark.parametrize("block", [16, 50, 1024])
def test_exact_roc_equals_that_of_all_scores(measure: Measure, block: int) -> None:
    embeddings, identity = draw()
    expected = roc_of_scores(*score_all(embeddings, identity, measure))
    check_same_figures(roc_all_pairs(embeddings, identity, measure, block), expected, 1e-9)
    assert 0.02 < equal_error(expected)[0] < 0.4


def test_exact_roc_keeps_ties() -> None:
    """Corners of a cube have so few distances that genuine and impostor scores tie everywhere."""
    random = torch.Generator().manual_seed(0)
    embeddings = torch.randint(0, 2, (60, 4), generator=random).float() + 1
    identity = torch.randint(0, 4, (60,), generator=random)
    differences = embeddings[:, None] - embeddings[None]
    scores = -differences.square().sum(-1)[torch.ones(60, 60).triu(1).bool()]
    same = (identity[:, None] == identity)[torch.ones(60, 60).triu(1).bool()]
    expected = roc_of_scores(scores, same)
    assert len(expected.thresholds) == 6
    got = roc_all_pairs(embeddings, identity, "euclidean", block=13)
    check_same_figures(got, expected, 1e-12)


@MEASURES
def test_exact_roc_passes_through_every_corner(measure: Measure) -> None:
    embeddings, identity = draw(30)
    roc = roc_all_pairs(embeddings, identity, measure)
    expected = roc_of_scores(*score_all(embeddings, identity, measure))
    steps = np.stack([expected.false_accepts, expected.true_accepts], axis=1)
    turns = (np.diff(steps, axis=0) == 0)[1:] != (np.diff(steps, axis=0) == 0)[:-1]
    corners = {tuple(step) for step in steps[1:-1][turns.any(axis=1)]}
    got = set(zip(roc.false_accepts, roc.true_accepts, strict=True))
    assert len(corners) > 20
    assert corners <= got <= {tuple(step) for step in steps}
    assert (np.diff(roc.thresholds) < 0).all()


@MEASURES
def test_histogram_counts_all_pairs(measure: Measure) -> None:
    embeddings, identity = draw()
    scores, same = score_all(embeddings, identity, measure)
    got = histogram_all_pairs(embeddings, identity, measure, n_bins=50, block=16)
    genuine, _ = np.histogram(scores[same], got.edges)
    impostor, _ = np.histogram(scores[~same], got.edges)
    # a score that is rounded otherwise may fall on the other side of a border
    assert np.abs(got.genuine - genuine).sum() <= 4
    assert np.abs(got.impostor - impostor).sum() <= 4
    assert (got.genuine.sum(), got.impostor.sum()) == (genuine.sum(), impostor.sum())
    fine = histogram_all_pairs(embeddings, identity, measure, block=1024)
    check_same_figures(fine.roc(), roc_of_scores(scores, same), 2e-3)


def test_histograms_for_plots_count_every_pair() -> None:
    embeddings, identity = draw()
    scores, same = score_all(embeddings, identity, "cosine")
    fine = histogram_all_pairs(embeddings, identity)
    for histogram in (fine.coarsened(40), histogram_of_scores(scores, same, 40)):
        assert len(histogram.genuine) <= 40 == len(histogram.edges) - 1
        assert (np.diff(histogram.edges) > 0).all()
        assert histogram.genuine.sum() == int(same.sum())
        assert histogram.impostor.sum() == int((~same).sum())
        assert histogram.edges[0] == pytest.approx(float(scores.min()), abs=1e-4)
        assert histogram.edges[-1] == pytest.approx(float(scores.max()), abs=1e-4)
    assert fine.coarsened(10**6).genuine.sum() == int(same.sum())


def test_bad_input_is_told() -> None:
    embeddings, identity = draw(6)
    for function in (roc_all_pairs, histogram_all_pairs):
        with pytest.raises(InputError, match="one identity"):
            function(embeddings, identity[:5])
        with pytest.raises(InputError, match="two embeddings"):
            function(embeddings[:1], identity[:1])
        with pytest.raises(InputError, match="diverged"):
            function(embeddings * torch.nan, identity)
        with pytest.raises(InputError, match="Unknown measure"):
            function(embeddings, identity, "dot")  # type: ignore[arg-type]
    for one_kind in (torch.zeros(6), torch.arange(6)):
        with pytest.raises(InputError, match="pairs of one person and pairs of different"):
            roc_all_pairs(embeddings, one_kind)
