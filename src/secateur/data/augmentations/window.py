"""A square window on a picture: how it moves boxes, is cut out, and filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]

MIN_AREA = 36.0
"""Pixels of a training picture; faces that cover no more are not trained on."""


class Window(NamedTuple):
    """A square of whole pixels that may reach beyond the picture.

    Attributes:
        left: Column of its left side.
        top: Row of its upper side.
        side: Width and height, at least 1.
    """

    left: int
    top: int
    side: int


def whole_picture(height: int, width: int) -> Window:
    """The smallest square around a picture, the picture in its middle."""
    side = max(height, width)
    return Window((width - side) // 2, (height - side) // 2, side)


def clip_to_picture(boxes: Boxes, height: int, width: int) -> NDArray[np.float64]:
    """Cut boxes (G, 4) of corners in pixels at the borders of the picture."""
    limits = np.array([width, height, width, height], dtype=np.float64)
    return np.clip(np.asarray(boxes, dtype=np.float64), 0.0, limits)


def boxes_in_window(
    boxes: Boxes, window: Window, size: int, min_area: float
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The boxes that a window keeps, clipped and in its own coordinates.

    A box stays when its centre lies strictly inside the window and what is left of it after
    clipping covers more than ``min_area`` pixels of the resized window. The published anchor
    sampling does not clip, so its targets leave 0..1; clipped ones never do.

    Args:
        boxes: (G, 4) corners in pixels of the picture.
        window: The square.
        size: Side of the resized window.
        min_area: Smallest area of a box, in pixels of the resized window.

    Returns:
        (K, 4) corners in 0..1 of the window, and (K,) indices of the boxes that stay.
    """
    corner = np.array([window.left, window.top, window.left, window.top], dtype=np.float64)
    moved = (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) - corner) / window.side
    centre = (moved[:, :2] + moved[:, 2:]) / 2
    clipped = np.clip(moved, 0.0, 1.0)
    area = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1) * size * size
    keep = ((centre > 0) & (centre < 1)).all(axis=1) & (area > min_area)
    return clipped[keep], np.flatnonzero(keep)


def cut_window(image: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    """The part (h, w, 3) of a picture (H, W, 3) that a window sees, at least one pixel."""
    height, width = image.shape[:2]
    left, top, right, bottom = _visible(window, height, width)
    return image[top:bottom, left:right]


def fit_window(
    part: NDArray[np.uint8],
    window: Window,
    height: int,
    width: int,
    size: int,
    interpolation: int,
    fill: Sequence[float],
) -> NDArray[np.uint8]:
    """Resize what a window sees of a picture, and fill what lies beyond the picture.

    All four sides are filled where needed, so that the aspect is kept. (The published anchor
    sampling fills left and top only, with the mean in the order of BGR, and stretches the rest.)

    Args:
        part: (h, w, 3) as `cut_window` gives it.
        window: The square.
        height: Height of the picture.
        width: Width of the picture.
        size: Side of the result.
        interpolation: OpenCV's number of a filter.
        fill: Colour in the order of the channels.

    Returns:
        (size, size, 3).
    """
    left, top, right, bottom = _visible(window, height, width)
    scale = size / window.side
    x1, x2 = _rounded_span(left - window.left, right - window.left, scale, size)
    y1, y2 = _rounded_span(top - window.top, bottom - window.top, scale, size)
    if part.shape[:2] != (y2 - y1, x2 - x1):
        resized = cv2.resize(part, (x2 - x1, y2 - y1), interpolation=interpolation)
        part = np.asarray(resized, dtype=np.uint8)
    if part.shape[:2] == (size, size):
        return part
    filled = cv2.copyMakeBorder(
        part, y1, size - y2, x1, size - x2, cv2.BORDER_CONSTANT, value=list(fill)
    )
    return np.asarray(filled, dtype=np.uint8)


def _visible(window: Window, height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part of a picture that a window sees."""
    left, top = min(max(window.left, 0), width - 1), min(max(window.top, 0), height - 1)
    right = min(max(window.left + window.side, left + 1), width)
    bottom = min(max(window.top + window.side, top + 1), height)
    return left, top, right, bottom


def _rounded_span(start: int, stop: int, scale: float, size: int) -> tuple[int, int]:
    """A span of the window in whole pixels of the result, at least one, inside it."""
    low = min(max(round(start * scale), 0), size - 1)
    return low, min(max(round(stop * scale), low + 1), size)
