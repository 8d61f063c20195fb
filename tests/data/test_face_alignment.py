"""Alignment of faces: against a general least-squares solver, and on a painted face."""

from __future__ import annotations

import numpy as np

from secateur.data.face_alignment import TEMPLATE, align_face, estimate_similarity


def test_similarity_is_the_least_squares_solution() -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(5, 2))
    targets = generator.normal(size=(5, 2))
    rows, values = [], []
    for (x, y), (u, v) in zip(points, targets, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        values += [u, v]
    a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    expected = [[a, -b, c], [b, a, d]]
    np.testing.assert_allclose(estimate_similarity(points, targets), expected, atol=1e-12)


def test_a_turned_and_scaled_face_lies_on_the_template() -> None:
    angle, scale = 0.6, 1.7
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = TEMPLATE @ turn.T + [90, 40]
    picture = np.zeros((400, 400, 3), np.uint8)
    for x, y in landmarks:
        column, row = round(x), round(y)
        picture[row - 3 : row + 4, column - 3 : column + 4] = 255
    for size in (112, 224):
        aligned = align_face(picture, landmarks, size)
        assert aligned.shape == (size, size, 3)
        for x, y in TEMPLATE * (size / 112):
            assert aligned[round(y), round(x), 0] > 200
