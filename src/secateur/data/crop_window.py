"""A square window on a picture: how it moves boxes, and how it is cut out."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]


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
        min_area: In pixels of the resized window.

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


def cut_window(
    image: NDArray[np.uint8],
    window: Window,
    size: int,
    interpolation: int,
    fill: tuple[int, int, int],
) -> NDArray[np.uint8]:
    """Cut a window out and resize it.

    Args:
        image: (H, W, 3).
        window: The square; what lies beyond the picture is filled, so the aspect is kept.
        size: Side of the result.
        interpolation: OpenCV's number of a filter.
        fill: Colour beyond the picture, in the order of the image's channels.

    Returns:
        (size, size, 3).
    """
    height, width = image.shape[:2]
    left, top = max(window.left, 0), max(window.top, 0)
    right = min(window.left + window.side, width)
    bottom = min(window.top + window.side, height)
    inside = image[top : max(bottom, top), left : max(right, left)]
    if inside.shape[:2] == (window.side, window.side):
        return _resized(inside, size, size, interpolation)
    result = np.empty((size, size, 3), dtype=np.uint8)
    result[:] = fill
    # Resizing only the part with picture saves copying it into a window that may be far larger.
    scale = size / window.side
    x1, x2 = round((left - window.left) * scale), round((right - window.left) * scale)
    y1, y2 = round((top - window.top) * scale), round((bottom - window.top) * scale)
    if x2 > x1 and y2 > y1:
        result[y1:y2, x1:x2] = _resized(inside, y2 - y1, x2 - x1, interpolation)
    return result


def _resized(
    image: NDArray[np.uint8], height: int, width: int, interpolation: int
) -> NDArray[np.uint8]:
    """Resize, or copy when there is nothing to resize."""
    if image.shape[:2] == (height, width):
        return image.copy()
    resized = cv2.resize(image, (width, height), interpolation=interpolation)
    return np.asarray(resized, dtype=np.uint8)
