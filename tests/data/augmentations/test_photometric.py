"""Photometric distortion against Pillow, which the published code uses."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from secateur.data.augmentations.photometric import (
    PhotometricDistortion,
    scale_brightness,
    scale_contrast,
    scale_saturation,
    shift_hue,
)


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (64, 48), interpolation=cv2.INTER_LINEAR))


@pytest.mark.parametrize("factor", [0.5, 0.875, 1.0, 1.125, 1.5])
@pytest.mark.parametrize(
    ("change", "enhance"),
    [
        (scale_brightness, ImageEnhance.Brightness),
        (scale_contrast, ImageEnhance.Contrast),
        (scale_saturation, ImageEnhance.Color),
    ],
)
def test_equals_pillow(
    picture: NDArray[np.uint8],
    change: Callable[[NDArray[np.uint8], float], NDArray[np.uint8]],
    enhance: type[ImageEnhance.Brightness],
    factor: float,
) -> None:
    expected = np.asarray(enhance(Image.fromarray(picture)).enhance(factor)).astype(int)
    assert abs(change(picture, factor).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("shift", [-18, -5, 7, 18])
def test_hue_equals_pillow(picture: NDArray[np.uint8], shift: int) -> None:
    hsv = np.array(Image.fromarray(picture).convert("HSV"))
    hsv[..., 0] = (hsv[..., 0].astype(int) + shift) % 256
    expected = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB")).astype(int)
    difference = abs(shift_hue(picture, shift).astype(int) - expected)
    assert difference.mean() < 1.5
    assert difference.max() <= 12  # two of the 256 hues: the two libraries round differently


def test_hue_of_grey_and_zero_shift(picture: NDArray[np.uint8]) -> None:
    gray = np.repeat(picture[..., :1], 3, axis=2)
    np.testing.assert_array_equal(shift_hue(gray, 18), gray)
    assert abs(shift_hue(picture, 0).astype(int) - picture).max() <= 6


def test_each_change_has_its_chance_and_contrast_two_places() -> None:
    transform = PhotometricDistortion(probability=0.5)
    transform.set_random_seed(0)
    drawn = [[change for change, _ in transform.get_params()["changes"]] for _ in range(4000)]
    for change in (scale_brightness, scale_contrast, scale_saturation, shift_hue):
        assert np.mean([change in changes for changes in drawn]) == pytest.approx(0.5, abs=0.03)
    both = [c for c in drawn if scale_contrast in c and scale_saturation in c]
    early = [c.index(scale_contrast) < c.index(scale_saturation) for c in both]
    assert np.mean(early) == pytest.approx(0.5, abs=0.05)


def test_amounts_stay_in_their_ranges() -> None:
    transform = PhotometricDistortion(0.1, 0.2, 0.3, 9.0, probability=1.0)
    transform.set_random_seed(1)
    limits = {scale_brightness: 0.1, scale_contrast: 0.2, scale_saturation: 0.3}
    seen: dict[object, list[float]] = {}
    for _ in range(500):
        for change, amount in transform.get_params()["changes"]:
            seen.setdefault(change, []).append(amount)
    for change, limit in limits.items():
        amounts = np.array(seen[change])
        assert abs(amounts - 1).max() <= limit
        assert np.ptp(amounts) > 1.8 * limit
    assert set(seen[shift_hue]) == set(range(-8, 9))


def test_probability_zero_changes_nothing(picture: NDArray[np.uint8]) -> None:
    transform = PhotometricDistortion(probability=0.0)
    np.testing.assert_array_equal(transform(image=picture)["image"], picture)
