"""WindowCrop: a window drawn from the faces, cut out, filled and resized, for albumentations."""

from __future__ import annotations

from typing import Any, Protocol

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from secateur.data.crop_window import (
    Window,
    boxes_in_window,
    clip_to_picture,
    cut_window,
    whole_picture,
)

INTERPOLATIONS = (
    cv2.INTER_LINEAR,
    cv2.INTER_CUBIC,
    cv2.INTER_AREA,
    cv2.INTER_NEAREST,
    cv2.INTER_LANCZOS4,
)
_REDRAWS = 5


class DrawWindow(Protocol):
    """Draws a window on a picture, or None when no window suits its boxes."""

    def __call__(
        self,
        boxes: NDArray[np.float64],
        height: int,
        width: int,
        size: int,
        generator: np.random.Generator,
    ) -> Window | None:
        """Draw for boxes (G, 4) of corners in pixels of a picture of that height and width."""


class WindowCrop(A.DualTransform):
    """Crop to a drawn window and resize to a square; boxes are clipped or dropped.

    A window that keeps no box is drawn again up to five times; after that, and when there is no
    window, the whole picture is taken (in a filled square, with all its boxes, small ones too).

    Args:
        draw_window: How a window is chosen; it decides what kind of crop this is.
        size: Side of the result.
        fill: Colour beyond the picture, RGB.
        min_area: Boxes that cover no more pixels of the result are dropped.
        p: Probability, or weight within ``OneOf``.
    """

    _targets = (A.core.type_definitions.Targets.IMAGE, A.core.type_definitions.Targets.BBOXES)

    class InitSchema(A.DualTransform.InitSchema):  # type: ignore[misc, name-defined]
        """Arguments that albumentations knows: checks of types are left to mypy."""

        draw_window: Any
        size: int
        fill: tuple[int, int, int]
        min_area: float

    def __init__(
        self,
        draw_window: DrawWindow,
        size: int,
        fill: tuple[int, int, int],
        min_area: float = 36.0,
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        self.draw_window = draw_window
        self.size = size
        self.fill = fill
        self.min_area = min_area

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the window and the filter.

        Args:
            params: Holds ``shape`` of the picture.
            data: Holds ``bboxes`` (G, 4 or more) in 0..1.
        """
        height, width = params["shape"][:2]
        boxes = _to_pixels(np.asarray(data["bboxes"]), height, width)
        window = whole_picture(height, width)
        min_area = 0.0
        for _ in range(_REDRAWS if len(boxes) else 0):
            drawn = self.draw_window(boxes, height, width, self.size, self.random_generator)
            if drawn is None:
                break
            if len(boxes_in_window(boxes, drawn, self.size, self.min_area)[1]):
                window, min_area = drawn, self.min_area
                break
        interpolation = INTERPOLATIONS[int(self.random_generator.integers(len(INTERPOLATIONS)))]
        return {"window": window, "min_area": min_area, "resize": interpolation}

    def apply(
        self, img: NDArray[np.uint8], window: Window, resize: int, **params: object
    ) -> NDArray[np.uint8]:
        """The picture (size, size, 3)."""
        return cut_window(img, window, self.size, resize, self.fill)

    def apply_to_bboxes(
        self,
        bboxes: NDArray[np.floating],
        window: Window,
        min_area: float,
        **params: Any,  # noqa: ANN401 - whatever albumentations adds
    ) -> NDArray[np.floating]:
        """Boxes (K, 4 or more) in 0..1 of the result."""
        height, width = params["shape"][:2]
        kept, rows = boxes_in_window(_to_pixels(bboxes, height, width), window, self.size, min_area)
        return np.concatenate([kept, bboxes[rows, 4:]], axis=1)


def _to_pixels(bboxes: NDArray[np.floating], height: int, width: int) -> NDArray[np.float64]:
    """Corners in pixels, cut at the picture's borders."""
    pixels = bboxes[:, :4].astype(np.float64) * [width, height, width, height]
    return clip_to_picture(pixels, height, width)
