"""Augmentations that cut a window out of a picture: square crops and data-anchor sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import albumentations
import cv2
import numpy as np
from albumentations.core.type_definitions import Targets
from numpy.typing import NDArray

from secateur.data.augmentations.window import (
    MIN_AREA,
    Window,
    boxes_in_window,
    clip_to_picture,
    cut_window,
    fit_window,
    whole_picture,
)
from secateur.data.landmarks import COLUMNS, clip_landmarks, flip_faces, move_faces

INTERPOLATIONS = (
    cv2.INTER_LINEAR,
    cv2.INTER_CUBIC,
    cv2.INTER_AREA,
    cv2.INTER_NEAREST,
    cv2.INTER_LANCZOS4,
)

NO_WINDOW = np.zeros(5, dtype=np.int64)

"""What to pass as ``window``: left, top, side of the window, height, width of the picture."""

_REDRAWS = 5

Boxes = NDArray[np.floating]


class WindowCrop(albumentations.DualTransform):  # type: ignore[misc]
    """Crop to a drawn window; boxes are clipped or dropped.

    A window that keeps no box is drawn again up to five times; after that, and when there is no
    window, the whole picture is taken (in a square, with all its boxes, small ones too).

    Args:
        size: Side of the square that the window will be fitted to.
        min_area: Boxes that cover no more pixels of that square are dropped.
        p: Probability, or weight within ``OneOf``.
    """

    _targets = (Targets.IMAGE, Targets.BBOXES)

    without_faces = False
    """Whether a picture without faces is cropped too."""

    def __init__(self, size: int, min_area: float = MIN_AREA, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.size = size
        self.min_area = min_area

    @property
    def targets(self) -> dict[str, Callable[..., Any]]:
        """What the transform changes."""
        return {**super().targets, "window": self.apply_to_window}

    def draw_window(self, boxes: NDArray[np.float64], height: int, width: int) -> Window | None:
        """Draw a window for boxes (G, 4) of corners in pixels, or None when none suits."""
        raise NotImplementedError

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the window; of a picture with faces one that keeps a face.

        Args:
            params: Holds ``shape`` of the picture.
            data: Holds ``bboxes`` (G, 4 or more) in 0..1.
        """
        height, width = params["shape"][:2]
        boxes = to_pixels(np.asarray(data["bboxes"]), height, width)
        for _ in range(_REDRAWS if len(boxes) or self.without_faces else 0):
            drawn = self.draw_window(boxes, height, width)
            if drawn is None:
                break
            if not len(boxes) or len(boxes_in_window(boxes, drawn, self.size, self.min_area)[1]):
                return {"drawn": drawn, "smallest": self.min_area}
        return {"drawn": whole_picture(height, width), "smallest": 0.0}

    def apply(self, img: NDArray[np.uint8], drawn: Window, **params: object) -> NDArray[np.uint8]:
        """What the window sees (h, w, 3)."""
        return cut_window(img, drawn)

    def apply_to_bboxes(
        self,
        bboxes: Boxes,
        drawn: Window,
        smallest: float,
        shape: tuple[int, ...],
        **params: object,
    ) -> Boxes:
        """Boxes (K, 4 or more) in 0..1 of the window."""
        pixels = to_pixels(bboxes, shape[0], shape[1])
        kept, rows = boxes_in_window(pixels, drawn, self.size, smallest)
        others = bboxes[rows, 4:]
        if bboxes.shape[1] == COLUMNS:
            scale = np.array([shape[1], shape[0]], dtype=np.float64)
            offset = -np.array([drawn.left, drawn.top]) / scale
            moved = move_faces(np.asarray(bboxes[rows], np.float64), offset, scale / drawn.side)
            others = clip_landmarks(moved)[:, 4:]
        return np.concatenate([kept, others], axis=1)

    def apply_to_window(
        self,
        window: NDArray[np.int64],
        drawn: Window,
        shape: tuple[int, ...],
        **params: object,
    ) -> NDArray[np.int64]:
        """The window and the size of the picture (5,)."""
        return np.array([*drawn, *shape[:2]], dtype=np.int64)


class FaceFlip(albumentations.HorizontalFlip):  # type: ignore[misc]
    """Mirror the picture and its faces; eyes and corners of the mouth change their places."""

    def apply_to_bboxes(self, bboxes: Boxes, **params: object) -> Boxes:
        """Boxes (K, 4 or more) in 0..1, or faces (K, 19) with landmarks."""
        if bboxes.shape[1] == COLUMNS:
            return flip_faces(np.asarray(bboxes, np.float64))
        flipped: Boxes = super().apply_to_bboxes(bboxes, **params)
        return flipped


class FitSquare(albumentations.ImageOnlyTransform):  # type: ignore[misc]
    """Resize the window to a square with a random filter, and fill what lies beyond the picture.

    Args:
        size: Side of the result.
        fill: Colour in RGB.
    """

    def __init__(self, size: int, fill: tuple[float, float, float]) -> None:
        super().__init__(p=1.0)
        self.size = size
        self.fill = fill

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the filter.

        Args:
            params: Not used.
            data: Holds ``window``.
        """
        left, top, side, height, width = data["window"].tolist()
        chosen = INTERPOLATIONS[int(self.random_generator.integers(len(INTERPOLATIONS)))]
        return {
            "drawn": Window(left, top, side),
            "height": height,
            "width": width,
            "interpolation": chosen,
        }

    def apply(
        self,
        img: NDArray[np.uint8],
        drawn: Window,
        height: int,
        width: int,
        interpolation: int,
        **params: object,
    ) -> NDArray[np.uint8]:
        """The square (size, size, 3)."""
        return fit_window(img, drawn, height, width, self.size, interpolation, self.fill)


def to_pixels(bboxes: Boxes, height: int, width: int) -> NDArray[np.float64]:
    """Corners in pixels, cut at the picture's borders."""
    pixels = bboxes[:, :4].astype(np.float64) * [width, height, width, height]
    return clip_to_picture(pixels, height, width)


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
        height: Height of the picture.
        width: Width of the picture.
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
        height: Height of the picture.
        width: Width of the picture.
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
        min_area: float = MIN_AREA,
        p: float = 1.0,
    ) -> None:
        super().__init__(size, min_area, p)
        self.anchor_sizes = tuple(anchor_sizes)

    def draw_window(self, boxes: NDArray[np.float64], height: int, width: int) -> Window | None:
        """Draw a window for boxes (G, 4) of corners in pixels, or None when none suits."""
        return draw_anchor_window(
            boxes, height, width, self.size, self.random_generator, self.anchor_sizes
        )
