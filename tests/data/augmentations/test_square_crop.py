"""Random square crop: inside the picture, one face whole, sizes as published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.augmentations.window_transforms import draw_square_window


@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(20, 300),
    width=st.integers(20, 300),
    count=st.integers(0, 5),
)
def test_window_is_inside_and_holds_a_face(seed: int, height: int, width: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    low = generator.random((count, 2)) * [width - 8, height - 8]
    boxes = np.concatenate([low, low + generator.uniform(1, 8, (count, 2))], axis=1)
    window = draw_square_window(boxes, height, width, generator)
    if window is None:
        return
    assert count > 0
    assert 0 <= window.left <= width - window.side
    assert 0 <= window.top <= height - window.side
    assert round(0.3 * min(height, width)) <= window.side <= min(height, width)
    right, bottom = window.left + window.side, window.top + window.side
    assert any(
        window.left <= x1 and window.top <= y1 and x2 <= right and y2 <= bottom
        for x1, y1, x2, y2 in boxes
    )


def test_a_fifth_takes_the_full_shorter_side() -> None:
    box = np.array([[240.0, 190, 260, 210]])
    sides = []
    for seed in range(3000):
        window = draw_square_window(box, 400, 500, np.random.default_rng(seed))
        assert window is not None
        sides.append(window.side)
    assert np.mean(np.array(sides) == 400) == pytest.approx(0.2, abs=0.02)


def test_large_face_needs_a_large_window() -> None:
    box = np.array([[100.0, 0, 480, 380]])
    for seed in range(50):
        window = draw_square_window(box, 400, 500, np.random.default_rng(seed))
        assert window is None or window.side >= 380


def test_no_window_when_no_face_fits() -> None:
    too_wide = np.array([[0.0, 0, 500, 100]])
    assert draw_square_window(too_wide, 400, 500, np.random.default_rng(0)) is None
    assert draw_square_window(np.zeros((0, 4)), 400, 500, np.random.default_rng(0)) is None
