"""Data-anchor sampling: a crop in which a random face gets the size of a random anchor.

Tang et al., "PyramidBox" (ECCV 2018), section 3.3, in the variant that both detectors are
trained with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from secateur.data.crop_window import Window
from secateur.data.window_crop import WindowCrop

ANCHOR_SIZES = (16, 32, 64, 128, 256, 512)
_ANCHOR_TRIALS = 50
_MAX_SIDE = 12_000  # of the whole picture if it were resized: no face is blown up beyond that
_MIN_IOU = 0.7


def draw_anchor_window(
    boxes: NDArray[np.float64],
    height: int,
    width: int,
    size: int,
    generator: np.random.Generator,
    anchor_sizes: Sequence[int] = ANCHOR_SIZES,
) -> Window | None:
    """Choose a face, an anchor at most one step larger than it, and a window that holds the face.

    The face shall be 0.5 to 2 times the anchor in the resized window. The published code draws
    50 windows and takes one of the acceptable ones; the first acceptable one of up to 50 has the
    same distribution. Windows are rounded to whole pixels of the picture.

    Args:
        boxes: (G, 4) corners in pixels of the picture, G >= 1.
        height: Of the picture.
        width: Of the picture.
        size: Side of the resized window.
        generator: Source of chance.
        anchor_sizes: Rising sides of the anchors in pixels of the resized window.

    Returns:
        A window that holds some box whole or overlaps one with an IoU above 0.7, or None.
    """
    face = boxes[generator.integers(len(boxes))]
    side = math.sqrt((face[2] - face[0] + 1) * (face[3] - face[1] + 1))
    nearest = int(np.argmin(np.abs(np.asarray(anchor_sizes) - side)))
    target = anchor_sizes[int(generator.integers(min(nearest + 1, len(anchor_sizes) - 1) + 1))]
    scale = target / side * 2.0 ** (2 * generator.random() - 1)
    scale = min(scale, _MAX_SIDE / math.sqrt(height * width))
    window_side = max(1, round(size / scale))
    for _ in range(_ANCHOR_TRIALS):
        if window_side < max(height, width):
            left = _draw_offset(face[0], face[2], window_side, generator)
            top = _draw_offset(face[1], face[3], window_side, generator)
        else:
            left = _between(width - window_side, 0, generator)
            top = _between(height - window_side, 0, generator)
        window = Window(left, top, window_side)
        if _is_acceptable(boxes, window):
            return window
    return None


def _draw_offset(low: float, high: float, side: int, generator: np.random.Generator) -> int:
    """Offset of a window that holds low..high, or lies within it when it is the smaller one."""
    return _between(high - side, low, generator)


def _between(a: float, b: float, generator: np.random.Generator) -> int:
    """Floor of a uniform number between two numbers in any order."""
    return math.floor(a + (b - a) * generator.random())


def _is_acceptable(boxes: NDArray[np.float64], window: Window) -> bool:
    """Whether a box lies inside the window or nearly coincides with it."""
    low = np.array([window.left, window.top], dtype=np.float64)
    high = low + window.side
    if bool(((boxes[:, :2] >= low) & (boxes[:, 2:] <= high)).all(axis=1).any()):
        return True
    overlap = np.minimum(boxes[:, 2:], high) - np.maximum(boxes[:, :2], low)
    intersection = np.clip(overlap, 0, None).prod(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = area + float(window.side) ** 2 - intersection
    return bool((intersection > _MIN_IOU * union).any())


class DataAnchorSampling(WindowCrop):
    """Crop such that a random face gets about the size of a random anchor.

    Args:
        size: Side of the square that the window will be fitted to.
        anchor_sizes: Rising sides of the anchors in pixels of that square.
        min_area: Boxes that cover no more pixels of that square are dropped.
        p: Probability, or weight within ``OneOf``.
    """

    def __init__(
        self,
        size: int,
        anchor_sizes: Sequence[int] = ANCHOR_SIZES,
        min_area: float = 36.0,
        p: float = 1.0,
    ) -> None:
        super().__init__(size, min_area, p)
        self.anchor_sizes = tuple(anchor_sizes)

    def draw_window(self, boxes: NDArray[np.float64], height: int, width: int) -> Window | None:
        """Draw a window for boxes (G, 4) of corners in pixels, or None when none suits."""
        return draw_anchor_window(
            boxes, height, width, self.size, self.random_generator, self.anchor_sizes
        )
