"""Windows of every scale."""

from __future__ import annotations

import numpy as np
import pytest

from secateur.data.augmentations.scale_sampling import (
    ScaleSampling,
    View,
    draw_scale_window,
)
from secateur.errors import InputError

FACE = np.array([[300.0, 200.0, 340.0, 250.0]])


def drawn(view: View, boxes: np.ndarray = FACE, height: int = 600, width: int = 800) -> list:
    generator = np.random.default_rng(0)
    return [draw_scale_window(view, boxes, height, width, 320, generator) for _ in range(200)]


def test_whole_shows_all_of_the_picture() -> None:
    for window in drawn("whole"):
        assert 800 <= window.side <= 1000
        assert window.left <= 0
        assert window.top <= 0
        assert window.left + window.side >= 800
        assert window.top + window.side >= 600


def test_zoom_makes_a_whole_face_100_to_500_pixels_high_or_as_large_as_fits() -> None:
    heights = []
    for window in drawn("zoom"):
        heights.append(50 * 320 / window.side)
        assert window.left <= 300
        assert window.top <= 200
        assert window.left + window.side >= 340
        assert window.top + window.side >= 250
    assert 95 < min(heights) < 110
    assert 240 < max(heights) < 262  # 0.8 of a window of 320


@pytest.mark.parametrize("view", ["native", "zoom"])
def test_native_pixels_are_shown_as_they_are_inside_the_picture(view: View) -> None:
    for window in drawn(view, np.zeros((0, 4))):
        assert window.side == 320
        assert 0 <= window.left <= 480
        assert 0 <= window.top <= 280


def test_scales_reach_from_a_fifth_to_a_little_above_native() -> None:
    scales = [320 / window.side for window in drawn("scale")]
    assert 0.2 < min(scales) < 0.25
    assert 1.05 < max(scales) < 1.16


def test_the_same_seed_crops_the_same_window_of_a_picture_without_faces() -> None:
    image = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)

    def crop(seed: int) -> dict:
        transform = ScaleSampling(64, {"native": 1.0})
        transform.set_random_seed(seed)
        return transform(image=image, bboxes=np.zeros((0, 4), np.float32), window=np.zeros(5, int))

    assert crop(1)["window"].tolist() == crop(1)["window"].tolist() != crop(2)["window"].tolist()
    assert crop(1)["image"].shape == (64, 64, 3)


def test_unknown_views_and_weights_below_zero_are_refused() -> None:
    with pytest.raises(InputError, match="no view far"):
        ScaleSampling(64, {"far": 1.0})
    with pytest.raises(InputError, match="weights of at least 0"):
        ScaleSampling(64, {"whole": 0.0})
