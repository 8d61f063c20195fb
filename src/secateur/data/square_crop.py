"""Random square crop: 0.3 to 1 times the shorter side, with at least one face whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.data.crop_window import Window
from secateur.data.window_crop import WindowCrop

_SAMPLERS = 5  # the first takes the full shorter side, the others a random share of it
_SQUARE_TRIALS = 50
_MIN_SCALE = 0.3


def draw_square_window(
    boxes: NDArray[np.float64],
    height: int,
    width: int,
    generator: np.random.Generator,
) -> Window | None:
    """Choose one of up to five windows that each hold some face whole.

    Each sampler draws 50 windows and offers its first success; one offer is taken at random.

    Args:
        boxes: (G, 4) corners in pixels of the picture.
        height: Of the picture.
        width: Of the picture.
        generator: Source of chance.

    Returns:
        A window inside the picture, or None when no sampler succeeded.
    """
    shorter = min(height, width)
    scale = _MIN_SCALE + (1 - _MIN_SCALE) * generator.random((_SAMPLERS, _SQUARE_TRIALS))
    scale[0] = 1.0
    side = np.maximum(1, np.rint(scale * shorter)).astype(np.int64)
    left = np.floor(generator.random(side.shape) * (width - side + 1)).astype(np.int64)
    top = np.floor(generator.random(side.shape) * (height - side + 1)).astype(np.int64)
    holds: NDArray[np.bool_] = np.any(
        (boxes[:, 0] >= left[..., None])
        & (boxes[:, 1] >= top[..., None])
        & (boxes[:, 2] <= (left + side)[..., None])
        & (boxes[:, 3] <= (top + side)[..., None]),
        axis=-1,
    )
    offers = np.flatnonzero(holds.any(axis=1))
    if len(offers) == 0:
        return None
    sampler = offers[generator.integers(len(offers))]
    trial = int(np.argmax(holds[sampler]))
    return Window(int(left[sampler, trial]), int(top[sampler, trial]), int(side[sampler, trial]))


class RandomSquareCrop(WindowCrop):
    """Crop to a square inside the picture that holds some face whole."""

    def draw_window(self, boxes: NDArray[np.float64], height: int, width: int) -> Window | None:
        """Draw a window for boxes (G, 4) of corners in pixels, or None when none suits."""
        return draw_square_window(boxes, height, width, self.random_generator)
