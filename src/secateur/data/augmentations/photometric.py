"""Photometric distortion: brightness, contrast, saturation and hue in one of two orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import albumentations
import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
_CONTRAST_EARLY = ("brightness", "contrast", "saturation", "hue")
_CONTRAST_LATE = ("brightness", "saturation", "hue", "contrast")
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as Pillow turns colour to grey


def scale_brightness(image: Rgb, factor: float) -> Rgb:
    """Blend with black: 0 is black, 1 the image (H, W, 3)."""
    return _affine(image, np.eye(3) * factor, np.zeros(3))


def scale_contrast(image: Rgb, factor: float) -> Rgb:
    """Blend with the mean grey of the image (H, W, 3)."""
    gray = round(float(np.dot(cv2.mean(image)[:3], _LUMA)))
    return _affine(image, np.eye(3) * factor, np.full(3, (1 - factor) * gray))


def scale_saturation(image: Rgb, factor: float) -> Rgb:
    """Blend with the grey version of the image (H, W, 3)."""
    return _affine(image, np.eye(3) * factor + (1 - factor) * np.tile(_LUMA, (3, 1)), np.zeros(3))


def shift_hue(image: Rgb, shift: int) -> Rgb:
    """Turn the hue of the image (H, W, 3); a full circle is 256 steps."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(shift % 256)  # wraps around, as a hue must
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), dtype=np.uint8)


def _affine(image: Rgb, matrix: NDArray[np.float64], offset: NDArray[np.float64]) -> Rgb:
    """A linear change of colour, rounded and clipped to 0..255."""
    coefficients = np.column_stack([matrix, offset]).astype(np.float32)
    return np.asarray(cv2.transform(image, coefficients), dtype=np.uint8)


class PhotometricDistortion(albumentations.ImageOnlyTransform):  # type: ignore[misc]
    """Each of four changes with its own chance, contrast either early or last.

    Howard, "Some Improvements on Deep Convolutional Neural Network Based Image Classification"
    (2013), in the SSD form: brightness first; then contrast, saturation, hue or saturation, hue,
    contrast.

    Args:
        brightness: Largest deviation of the factor from 1.
        contrast: Largest deviation of the factor from 1.
        saturation: Largest deviation of the factor from 1.
        hue: Largest shift, in 1/256 of the colour circle.
        probability: Probability of each of the four changes.
        p: Probability of the transform.
    """

    def __init__(
        self,
        brightness: float = 0.125,
        contrast: float = 0.5,
        saturation: float = 0.5,
        hue: float = 18.0,
        probability: float = 0.5,
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.probability = probability

    def get_params(self) -> dict[str, Any]:
        """Draw the changes that this picture gets, in their order."""
        draw = self.random_generator

        def factor(limit: float) -> float:
            return float(1 + draw.uniform(-limit, limit))

        steps: dict[str, tuple[Callable[[Rgb, Any], Rgb], float]] = {
            "brightness": (scale_brightness, factor(self.brightness)),
            "contrast": (scale_contrast, factor(self.contrast)),
            "saturation": (scale_saturation, factor(self.saturation)),
            "hue": (shift_hue, int(draw.uniform(-self.hue, self.hue))),
        }
        order = _CONTRAST_EARLY if draw.random() > 0.5 else _CONTRAST_LATE
        return {"changes": [steps[name] for name in order if draw.random() < self.probability]}

    def apply(
        self,
        img: Rgb,
        changes: list[tuple[Callable[[Rgb, Any], Rgb], float]],
        **params: object,
    ) -> Rgb:
        """The picture (H, W, 3) after the changes."""
        for change, amount in changes:
            img = change(img, amount)
        return img
