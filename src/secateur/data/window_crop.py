"""Crops to a window that is drawn from the faces, and fitting it to a square, for albumentations.

Between a crop and `FitSquare` the picture is what the window sees of it, at its original size, so
that other transforms touch no more pixels than needed; the window itself travels beside it, as
the target ``window``. Boxes are in 0..1 of the window from the crop on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import albumentations
import cv2
import numpy as np
from albumentations.core.type_definitions import Targets
from numpy.typing import NDArray

from secateur.data.crop_window import (
    Window,
    boxes_in_window,
    clip_to_picture,
    cut_window,
    fit_window,
    whole_picture,
)

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

    def __init__(self, size: int, min_area: float = 36.0, p: float = 1.0) -> None:
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
        """Draw the window.

        Args:
            params: Holds ``shape`` of the picture.
            data: Holds ``bboxes`` (G, 4 or more) in 0..1.
        """
        height, width = params["shape"][:2]
        boxes = _to_pixels(np.asarray(data["bboxes"]), height, width)
        for _ in range(_REDRAWS if len(boxes) else 0):
            drawn = self.draw_window(boxes, height, width)
            if drawn is None:
                break
            if len(boxes_in_window(boxes, drawn, self.size, self.min_area)[1]):
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
        pixels = _to_pixels(bboxes, shape[0], shape[1])
        kept, rows = boxes_in_window(pixels, drawn, self.size, smallest)
        return np.concatenate([kept, bboxes[rows, 4:]], axis=1)

    def apply_to_window(
        self,
        window: NDArray[np.int64],
        drawn: Window,
        shape: tuple[int, ...],
        **params: object,
    ) -> NDArray[np.int64]:
        """The window and the size of the picture (5,)."""
        return np.array([*drawn, *shape[:2]], dtype=np.int64)


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


def _to_pixels(bboxes: Boxes, height: int, width: int) -> NDArray[np.float64]:
    """Corners in pixels, cut at the picture's borders."""
    pixels = bboxes[:, :4].astype(np.float64) * [width, height, width, height]
    return clip_to_picture(pixels, height, width)
