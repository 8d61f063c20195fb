"""Windows of every scale: whole pictures, zooms at faces, native pixels, and far away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from secateur.data.augmentations.window import MIN_AREA, Window
from secateur.data.augmentations.window_transforms import WindowCrop
from secateur.errors import InputError

View = Literal["whole", "zoom", "native", "scale"]
VIEWS: tuple[View, ...] = get_args(View)
ZOOM = (100.0, 500.0)
SCALES = (-2.2, 0.2)


def draw_scale_window(
    view: View,
    boxes: NDArray[np.float64],
    height: int,
    width: int,
    size: int,
    generator: np.random.Generator,
) -> Window:
    """Choose a square window that will be resized to ``size`` pixels.

    Args:
        view: ``whole``: the whole picture in a square of up to 1.25 times its longer side.
            ``zoom``: around a face that will be 100 to 500 pixels high, evenly in the logarithm;
            a picture without faces is shown ``native``. ``native``: pixels as they are.
            ``scale``: pixels at 2^U(-2.2, 0.2) of their size.
        boxes: (G, 4) corners in pixels of the picture; G may be 0.
        height: Height of the picture.
        width: Width of the picture.
        size: Side of the result.
        generator: Source of chance.

    Returns:
        The window; it may reach beyond a picture that is smaller.
    """
    if view == "whole":
        side = round(max(height, width) * float(generator.uniform(1.0, 1.25)))
        return _somewhere(side, height, width, generator)
    if view == "zoom" and len(boxes):
        left, top, right, bottom = boxes[generator.integers(len(boxes))]
        face = max(bottom - top, 1.0)
        target = float(np.exp(generator.uniform(*np.log(np.minimum(ZOOM, 0.8 * size)))))
        side = max(8, round(size * face / target))
        # The face lies anywhere in the window, but whole.
        room = np.maximum(side - np.array([right - left, bottom - top]), 0.0)
        corner = np.array([left, top]) - generator.random(2) * room
        return Window(int(np.floor(corner[0])), int(np.floor(corner[1])), side)
    exponent = float(generator.uniform(*SCALES)) if view == "scale" else 0.0
    return _somewhere(max(8, round(size / 2**exponent)), height, width, generator)


def _somewhere(side: int, height: int, width: int, generator: np.random.Generator) -> Window:
    """A window of a size that lies inside the picture, or around it where it is larger."""
    top, left = (
        int(generator.integers(min(0, length - side), max(0, length - side) + 1))
        for length in (height, width)
    )
    return Window(left, top, side)


class ScaleSampling(WindowCrop):
    """Crop to a window of a scale that is drawn.

    Args:
        size: Side of the square that the window will be fitted to.
        views: Weight of each of ``whole``, ``zoom``, ``native`` and ``scale``.
        min_area: Boxes that cover no more pixels of that square are dropped.
        p: Probability, or weight within ``OneOf``.

    Raises:
        InputError: If a view is unknown or no weight is above 0.
    """

    without_faces = True

    def __init__(
        self, size: int, views: Mapping[str, float], min_area: float = MIN_AREA, p: float = 1.0
    ) -> None:
        super().__init__(size, min_area, p)
        if unknown := sorted(set(views) - set(VIEWS)):
            raise InputError(
                f"augmentation.views has no view {', '.join(unknown)}; "
                f"choose from {', '.join(VIEWS)}"
            )
        if min(views.values(), default=0) < 0 or sum(views.values()) <= 0:
            raise InputError(
                "augmentation.views must be weights of at least 0, one of them above, "
                f"got {dict(views)}"
            )
        weights = np.array([float(views.get(view, 0)) for view in VIEWS])
        self.shares = weights / weights.sum()

    def draw_window(self, boxes: NDArray[np.float64], height: int, width: int) -> Window:
        """Draw a window for boxes (G, 4) of corners in pixels, of which there may be none."""
        view = VIEWS[int(self.random_generator.choice(len(VIEWS), p=self.shares))]
        return draw_scale_window(view, boxes, height, width, self.size, self.random_generator)
