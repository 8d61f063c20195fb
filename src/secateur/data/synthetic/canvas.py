"""Pen: filled shapes in unit coordinates on an array of pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

_SHIFT = 4  # OpenCV takes points as whole 1/16 pixels

_CORNERS = 28

Color = tuple[int, int, int]

Points = NDArray[np.float64]

_ANGLES = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)

_CIRCLE = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])


class Pen:
    """Draws on an image through an affine map of unit coordinates to pixels.

    On four channels the result is RGB multiplied by coverage, and coverage: edges are smooth
    wherever the drawing is laid.

    Args:
        image: (H, W, 3) or (H, W, 4) pixels, changed in place.
        matrix: (2, 3) map from units to pixels.
    """

    def __init__(self, image: NDArray[np.uint8], matrix: ArrayLike) -> None:
        self.image = image
        self.matrix = np.asarray(matrix, dtype=np.float64)

    def place(self, points: ArrayLike) -> Points:
        """Units (n, 2) to pixels (n, 2)."""
        return np.asarray(points, dtype=np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def polygon(self, points: ArrayLike, color: Color) -> None:
        """Fill the polygon with corners (n, 2)."""
        fixed = np.rint(self.place(points) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(self.image, [fixed], (*color, 255), cv2.LINE_AA, _SHIFT)

    def ellipse(
        self, x: float, y: float, width: float, height: float, color: Color, tilt: float = 0.0
    ) -> None:
        """Fill an ellipse given by centre and half axes, turned by ``tilt`` radians."""
        self.polygon(ellipse_points(x, y, width, height, tilt), color)

    def stroke(self, points: ArrayLike, width: float, color: Color) -> None:
        """Draw a line of that width through points (n, 2)."""
        line = np.asarray(points, dtype=np.float64)
        along = np.empty_like(line)
        along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
        along[1:-1] = line[2:] - line[:-2]
        along /= np.maximum(np.hypot(*along.T), 1e-9)[:, None]
        across = np.column_stack([-along[:, 1], along[:, 0]]) * width / 2
        self.polygon(np.concatenate([line + across, (line - across)[::-1]]), color)

    def ring(
        self, x: float, y: float, width: float, height: float, thickness: float, color: Color
    ) -> None:
        """Draw the border of an ellipse."""
        points = ellipse_points(x, y, width, height)
        self.stroke(np.concatenate([points, points[:1]]), thickness, color)


def ellipse_points(
    x: float,
    y: float,
    width: float,
    height: float,
    tilt: float = 0.0,
    start: float = 0.0,
    stop: float = 2 * np.pi,
) -> Points:
    """Points (28, 2) on an ellipse or an arc of it; angles run from right to down."""
    if stop - start >= 2 * np.pi:
        flat = _CIRCLE * [width, height]
    else:
        angle = np.linspace(start, stop, _CORNERS)
        flat = np.column_stack([width * np.cos(angle), height * np.sin(angle)])
    if tilt == 0.0:
        upright: Points = flat + np.array([x, y])
        return upright
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    turned: Points = flat @ turn + np.array([x, y])
    return turned


def shade(color: Color, factor: float) -> Color:
    """A lighter (factor above 1) or darker colour."""
    red, green, blue = (int(min(255, max(0, round(value * factor)))) for value in color)
    return red, green, blue


def mix(first: Color, second: Color, share: float) -> Color:
    """A colour between two, ``share`` of the second."""
    red, green, blue = (
        round(a * (1 - share) + b * share) for a, b in zip(first, second, strict=True)
    )
    return red, green, blue
