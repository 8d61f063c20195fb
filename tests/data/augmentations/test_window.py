"""The geometry of a window: boxes, pixels and filling agree."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from secateur.data.augmentations.window import (
    Window,
    boxes_in_window,
    clip_to_picture,
    cut_window,
    fit_window,
    whole_picture,
)

FILL = (123, 117, 104)


def naive_boxes(
    boxes: NDArray[np.float64], window: Window, size: int, min_area: float
) -> list[tuple[int, list[float]]]:
    """One box at a time."""
    kept = []
    for row, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        right, bottom = window.left + window.side, window.top + window.side
        if not (window.left < x < right and window.top < y < bottom):
            continue
        low_x, low_y = max(x1, window.left), max(y1, window.top)
        high_x, high_y = min(x2, right), min(y2, bottom)
        if (high_x - low_x) * (high_y - low_y) * (size / window.side) ** 2 <= min_area:
            continue
        corners = (
            low_x - window.left,
            low_y - window.top,
            high_x - window.left,
            high_y - window.top,
        )
        kept.append((row, [value / window.side for value in corners]))
    return kept


corner = st.floats(-50, 250, allow_nan=False)


@given(
    corners=st.lists(st.tuples(corner, corner, st.floats(1, 90), st.floats(1, 90)), max_size=6),
    left=st.integers(-80, 150),
    top=st.integers(-80, 150),
    side=st.integers(1, 400),
)
def test_boxes_equal_the_naive_ones(
    corners: list[tuple[float, float, float, float]], left: int, top: int, side: int
) -> None:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in corners]).reshape(-1, 4)
    window = Window(left, top, side)
    kept, rows = boxes_in_window(boxes, window, 64, 36.0)
    expected = naive_boxes(boxes, window, 64, 36.0)
    if [row for row, _ in expected] != rows.tolist():  # a centre or an area exactly on the limit
        nudged = naive_boxes(boxes, window, 64, 36.0 * (1 + 1e-9))
        assert [row for row, _ in nudged] == rows.tolist()
        return
    np.testing.assert_allclose(kept, np.array([c for _, c in expected]).reshape(-1, 4), atol=1e-9)
    assert ((kept >= 0) & (kept <= 1)).all()
    assert (kept[:, 2:] > kept[:, :2]).all()


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    left=st.integers(-70, 70),
    top=st.integers(-70, 70),
    side=st.integers(1, 120),
    size=st.integers(1, 48),
)
def test_any_window_gives_a_square(
    height: int, width: int, left: int, top: int, side: int, size: int
) -> None:
    image = np.full((height, width, 3), 200, np.uint8)
    window = Window(left, top, side)
    part = cut_window(image, window)
    assert part.size
    result = fit_window(part, window, height, width, size, cv2.INTER_LINEAR, FILL)
    assert result.shape == (size, size, 3)
    assert {tuple(pixel) for pixel in result.reshape(-1, 3).tolist()} <= {(200,) * 3, FILL}


def test_inside_is_a_plain_resized_crop() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    window = Window(20, 10, 60)
    result = fit_window(cut_window(image, window), window, 90, 120, 32, cv2.INTER_AREA, FILL)
    expected = cv2.resize(image[10:70, 20:80], (32, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    "window", [Window(-30, -10, 80), Window(60, 40, 90), Window(-20, -30, 200)]
)
def test_outside_is_filled_and_the_aspect_kept(window: Window) -> None:
    image = np.full((90, 120, 3), 255, np.uint8)
    size = 2 * window.side
    result = fit_window(cut_window(image, window), window, 90, 120, size, cv2.INTER_LINEAR, FILL)
    padded = np.empty((600, 600, 3), np.uint8)
    padded[:] = FILL
    padded[200:290, 200:320] = image
    top, left = 200 + window.top, 200 + window.left
    naive = padded[top : top + window.side, left : left + window.side]
    naive = cv2.resize(naive, (size, size), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(result, naive)


def test_a_box_stays_on_its_pixels() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    boxes = np.array([[100.0, 60, 160, 140]])
    image[60:140, 100:160] = 255
    window = Window(40, -20, 220)
    (box,), _ = boxes_in_window(boxes, window, 440, 36.0)
    result = fit_window(cut_window(image, window), window, 200, 300, 440, cv2.INTER_NEAREST, FILL)
    x1, y1, x2, y2 = np.rint(box * 440).astype(int)
    assert (result[y1:y2, x1:x2] == 255).all()
    assert (result == 255).all(axis=2).sum() == (x2 - x1) * (y2 - y1)


def test_whole_picture_holds_everything_in_the_middle() -> None:
    assert whole_picture(100, 60) == Window(-20, 0, 100)
    assert whole_picture(60, 100) == Window(0, -20, 100)


def test_clipping() -> None:
    boxes = np.array([[-5.0, 2, 700, 50], [10, 10, 20, 20]])
    assert clip_to_picture(boxes, 40, 600).tolist() == [[0, 2, 600, 40], [10, 10, 20, 20]]
