"""Square crops of a share of the shorter side, as YuNet is trained: padded, resized, flipped."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from secateur.data.augmentations.window import Window, whole_picture
from secateur.data.landmarks import clip_landmarks, flip_faces, move_faces
from secateur.errors import InputError

_TRIALS = 250  # positions of one scale
_SCALES = 40  # scales, before the whole picture is taken
_GROWTH = 1.2


class ScaledCropAugmentation:
    """Crop, padding with one color, resizing and a flip; colors stay as they are.

    The result depends on picture, faces and seed alone.

    Args:
        input_size: Side of the result in pixels.
        scales: Sides of the crop over the shorter side of the picture, one of which is drawn.
        fill: Color of what lies beyond the picture.
        flip_probability: Share of mirrored pictures.

    Raises:
        InputError: If a number is out of its range.
    """

    def __init__(
        self,
        input_size: int = 640,
        scales: Sequence[float] = (0.5, 0.7, 0.9, 1.1, 1.3, 1.5),
        fill: Sequence[float] = (128, 128, 128),
        flip_probability: float = 0.5,
    ) -> None:
        if input_size < 1:
            raise InputError(f"input_size must be at least 1, got {input_size}")
        if not scales or min(scales) <= 0:
            raise InputError(f"augmentation.scales must be above 0, got {list(scales)}")
        if not 0 <= flip_probability <= 1:
            raise InputError(
                f"augmentation.flip_probability must be between 0 and 1, got {flip_probability}"
            )
        self.input_size = input_size
        self.scales = tuple(scales)
        self.fill = tuple(fill)
        self.flip_probability = flip_probability

    def __call__(
        self, image: NDArray[np.uint8], faces: NDArray[np.floating], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Augment one picture.

        Args:
            image: (H, W, 3) RGB.
            faces: (G, 4) corners in 0..1, or (G, 19) with landmarks, see ``landmarks``.
            seed: Any whole number from 0; the same one gives the same result.

        Returns:
            (S, S, 3) RGB, and (K, 4) or (K, 19) faces of it.
        """
        generator = np.random.default_rng(seed)
        height, width = image.shape[:2]
        pixels = move_faces(np.asarray(faces, np.float64), (0, 0), (width, height))
        window = draw_scaled_window(pixels[:, :4], height, width, self.scales, generator)
        square = _cut_padded(image, window, self.fill)
        resized = cv2.resize(
            square, (self.input_size, self.input_size), interpolation=cv2.INTER_LINEAR
        )
        kept = faces_in_window(pixels, window)
        if generator.random() < self.flip_probability:
            return np.ascontiguousarray(resized[:, ::-1]), flip_faces(kept).astype(np.float32)
        return np.asarray(resized, np.uint8), kept.astype(np.float32)


def draw_scaled_window(
    boxes: NDArray[np.floating],
    height: int,
    width: int,
    scales: Sequence[float],
    generator: np.random.Generator,
) -> Window:
    """Draw a window that holds the center of some box.

    It lies inside the picture along an axis where it is smaller, and around it where it is larger.
    When 250 positions fail, another scale is drawn, or, where none is above 1, the window grows.

    Args:
        boxes: (G, 4) corners in pixels.
        height: Height of the picture.
        width: Width of the picture.
        scales: Sides of the window over the shorter side of the picture.
        generator: Source of chance.

    Returns:
        The window; without boxes any, and the whole picture in a square when chance is unkind.
    """
    centers = (boxes[:, :2] + boxes[:, 2:4]) / 2
    scale = float(generator.choice(scales))
    for _ in range(_SCALES):
        side = max(1, int(scale * min(height, width)))
        left = _offsets(width, side, generator)
        top = _offsets(height, side, generator)
        if not len(boxes):
            return Window(int(left[0]), int(top[0]), side)
        x, y = centers[:, 0] - left[:, None], centers[:, 1] - top[:, None]
        holds = ((x > 0) & (x < side) & (y > 0) & (y < side)).any(axis=1)
        if holds.any():
            first = int(holds.argmax())
            return Window(int(left[first]), int(top[first]), side)
        scale = float(generator.choice(scales)) if max(scales) > 1 else scale * _GROWTH
    return whole_picture(height, width)


def faces_in_window(faces: NDArray[np.floating], window: Window) -> NDArray[np.float64]:
    """Faces whose center lies strictly inside a window, clipped to it, however little is left.

    Args:
        faces: (G, 4) corners in pixels of the picture, or (G, 19) with landmarks.
        window: The square.

    Returns:
        (K, 4) or (K, 19) in 0..1 of the window.
    """
    moved = move_faces(
        np.asarray(faces, np.float64), (-window.left, -window.top), (1 / window.side,) * 2
    )
    center = (moved[:, :2] + moved[:, 2:4]) / 2
    kept = moved[((center > 0) & (center < 1)).all(axis=1)]
    kept[:, :4] = kept[:, :4].clip(0, 1)
    return clip_landmarks(kept)


def _offsets(length: int, side: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Positions (250,) of a window along one side of a picture."""
    low, high = min(0, length - side), max(0, length - side)
    if low == high:
        return np.zeros(_TRIALS, np.int64)
    # the published code never draws the last position, and neither does this
    return generator.integers(low, high, _TRIALS)


def _cut_padded(
    image: NDArray[np.uint8], window: Window, fill: Sequence[float]
) -> NDArray[np.uint8]:
    """The square (side, side, 3) that a window sees."""
    height, width = image.shape[:2]
    left, top = max(window.left, 0), max(window.top, 0)
    right = min(window.left + window.side, width)
    bottom = min(window.top + window.side, height)
    square = np.empty((window.side, window.side, 3), np.uint8)
    square[:] = np.asarray(fill, np.uint8)
    square[top - window.top : bottom - window.top, left - window.left : right - window.left] = (
        image[top:bottom, left:right]
    )
    return square
