"""Boxes, scores and landmarks on a picture, readable on small and on large ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

COLOR, _OUTLINE, _INK = "#3DDC84", "#000000", "#000000"
_SHOWN_SIDE = 1000  # a picture is looked at about this large, whatever its size
_LINE, _FONT = 2.5, 15.0  # pixels at that size
_SMALLEST_FONT = 9


def draw_faces(
    pixels: Pixels, boxes: Floats, scores: Floats, landmarks: Floats | None = None
) -> Pixels:
    """Draw faces.

    Lines and letters grow with the picture. A box of a small face gets a thinner line, and its
    score where there is room for it above or below.

    Args:
        pixels: (H, W, 3) RGB; it stays as it is.
        boxes: (K, 4) x1, y1, x2, y2 in pixels.
        scores: (K,) in 0..1.
        landmarks: (K, 5, 2) x and y in pixels.

    Returns:
        (H, W, 3) RGB.
    """
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    scale = max(canvas.size) / _SHOWN_SIDE
    font = _font(max(_SMALLEST_FONT, round(_FONT * scale)))
    limit = np.array([canvas.width, canvas.height, canvas.width, canvas.height])
    taken: list[tuple[float, float, float, float]] = []
    for index in np.argsort(scores, kind="stable"):  # the surest last, on top
        x1, y1, x2, y2 = np.clip(boxes[index], -1, limit).tolist()
        x2, y2 = max(x1, x2), max(y1, y2)
        line = max(1, round(min(_LINE * max(scale, 0.4), (x2 - x1) / 12)))
        if x2 - x1 > 8:  # a dark rim keeps the box apart from what is bright behind it
            rim = (x1 - 1, y1 - 1, x2 + 1, y2 + 1)
            draw.rectangle(rim, outline=_OUTLINE, width=line + 2)
        draw.rectangle((x1, y1, x2, y2), outline=COLOR, width=line)
        if landmarks is not None:
            _draw_landmarks(draw, landmarks[index], max(1.0, (x2 - x1) / 40))
    for index in np.argsort(-scores, kind="stable"):
        box = tuple(np.clip(boxes[index], -1, limit).tolist())
        _draw_score(draw, box, float(scores[index]), font, canvas.size, taken)
    return np.asarray(canvas)


def _draw_landmarks(draw: ImageDraw.ImageDraw, points: Floats, radius: float) -> None:
    """A dot for each of five points."""
    for x, y in points.tolist():
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), COLOR, _OUTLINE)


def _draw_score(
    draw: ImageDraw.ImageDraw,
    box: tuple[float, ...],
    score: float,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
    taken: list[tuple[float, float, float, float]],
) -> None:
    """Write a score above its box, else below, else not at all."""
    text = f"{score:.2f}".removeprefix("0")
    left, top, right, bottom = draw.textbbox((0, 0), text, font)
    width, height = right - left + 4, bottom - top + 4
    if box[2] - box[0] < width * 0.6:
        return
    x = min(max(0.0, box[0]), size[0] - width)
    for y in (box[1] - height, box[3]):
        label = (x, y, x + width, y + height)
        if y < 0 or y + height > size[1] or any(_overlap(label, other) for other in taken):
            continue
        draw.rectangle(label, fill=COLOR)
        draw.text((x + 2 - left, y + 2 - top), text, _INK, font)
        taken.append(label)
        return


def _overlap(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> bool:
    """Whether two rectangles share an area."""
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that Pillow brings, so that pictures look the same everywhere."""
    return ImageFont.load_default(size)
