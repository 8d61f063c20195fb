from __future__ import annotations

import numpy as np
import pytest

from secateur.errors import InputError
from secateur.metrics.face_matching import best_faces, first_claims, match_picture


def test_match_picture_counts_duplicates_and_ignores_unlisted_faces() -> None:
    faces = np.array([[0, 0, 10, 10], [50, 50, 10, 10]])
    predictions = np.array(
        [
            [0, 0, 10, 10, 0.5],  # found already by the next one
            [1, 0, 10, 10, 0.9],
            [50, 50, 10, 10, 0.3],  # a face that the first setting ignores
            [90, 90, 10, 10, 0.8],
        ]
    )
    proposals, hits = match_picture(predictions, faces, [[True, False], [True, True]])
    assert proposals.tolist() == [[True, True, False, True], [True, True, True, True]]
    assert hits.tolist() == [[False, True, False, False], [False, True, True, False]]


def test_widths_count_the_border_pixel() -> None:
    boxes = np.array([[0.0, 0, 9, 9]])
    # 10 x 5 of 10 x 10 pixels are shared: exactly half of the union
    assert best_faces(boxes, np.array([[0.0, 0, 9, 4]])).tolist() == [0]
    assert best_faces(boxes, np.array([[0.0, 0, 9, 3.9]])).tolist() == [-1]


def test_the_first_of_equal_faces_is_the_best() -> None:
    boxes = np.array([[0.0, 0, 9, 9]])
    assert best_faces(boxes, np.repeat(boxes, 3, axis=0)).tolist() == [0]


def test_boxes_without_area_match_nothing() -> None:
    boxes = np.array([[5.0, 5, -3, 4], [5, 5, -1, -1]])
    assert best_faces(boxes, np.array([[5.0, 5, 9, 9], [5, 5, -1, -1]])).tolist() == [-1, -1]


def test_of_equal_scores_the_earlier_claims() -> None:
    claimed, scores = np.array([1, 0, 1, -1]), np.array([0.5, 0.5, 0.5, 0.9])
    assert first_claims(claimed, scores).tolist() == [True, True, False, False]
    pictures = np.array([1, 0, 0, 0])
    assert first_claims(np.array([1, 0, 0, -1]), scores, pictures).tolist() == [
        *(True, True, False, False)
    ]


def test_masks_must_fit_the_faces() -> None:
    with pytest.raises(InputError, match=r"shape \(settings, 1\) for 1 faces, got \(2,\)"):
        match_picture(np.empty((0, 5)), np.zeros((1, 4)), [True, False])
