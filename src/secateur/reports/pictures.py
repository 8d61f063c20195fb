"""Pictures with boxes: what a detector found, missed and made up."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from secateur.files import replacing
from secateur.metrics.face_matching import match_picture

HIT, MISS, FALSE_ALARM, IGNORED = "#1FA35C", "#2E7DFF", "#E8362B", "#9A9A9A"
_INK, _PAPER = "#222222", "#FFFFFF"
_DASH = 5
_SMALL = 12  # boxes narrower than this get a line of one pixel
_FAR = 20_000  # pixels
_GAP, _CAPTION, _HEADER = 10, 22, 34

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class MatchedPicture:
    """A picture and the verdict on every box.

    Attributes:
        image: ``(H, W, 3)`` RGB.
        title: Name of the picture.
        hits: ``(N, 5)`` x, y, width, height, score of predictions that find a face.
        false_alarms: ``(N, 5)`` predictions that find none.
        ignored: ``(N, 5)`` predictions on faces that are not evaluated.
        misses: ``(N, 4)`` evaluated faces that no prediction finds.
        faces: ``(G, 4)`` all faces, evaluated or not.
    """

    image: Pixels
    title: str
    hits: Floats
    false_alarms: Floats
    ignored: Floats
    misses: Floats
    faces: Floats


def match_detections(
    image: Pixels,
    predictions: ArrayLike,
    faces: ArrayLike,
    evaluated: ArrayLike | None = None,
    *,
    title: str = "",
    min_score: float = 0.5,
) -> MatchedPicture:
    """Match predictions with faces by the rules of WIDER FACE.

    Args:
        image: ``(H, W, 3)`` RGB.
        predictions: ``(P, 5)`` x, y, width, height, score in pixels.
        faces: ``(G, 4)`` x, y, width, height.
        evaluated: ``(G,)`` True for faces that count; all count when absent.
        title: Name of the picture.
        min_score: Predictions with a lower score are left out.

    Returns:
        The picture and its boxes.
    """
    rows = np.asarray(predictions, dtype=np.float64).reshape(-1, 5)
    rows = rows[rows[:, 4] >= min_score]
    boxes = np.asarray(faces, dtype=np.float64).reshape(-1, 4)
    mask = np.ones(len(boxes), np.bool_) if evaluated is None else np.asarray(evaluated, np.bool_)
    # one setting per face, in which it alone is evaluated, tells which faces are found
    alone = np.diag(mask)
    proposals, hits = (flags[0] for flags in match_picture(rows, boxes, mask[None]))
    found = match_picture(rows, boxes, alone)[1].any(axis=1)
    return MatchedPicture(
        image=image,
        title=title,
        hits=rows[hits],
        false_alarms=rows[proposals & ~hits],
        ignored=rows[~proposals],
        misses=boxes[mask & ~found],
        faces=boxes,
    )


def draw_picture(picture: MatchedPicture, size: tuple[int, int] | None = None) -> Pixels:
    """Draw the boxes of a picture: hits green, misses blue and dashed, false alarms red.

    Args:
        picture: The picture.
        size: Width and height to fit it into, before anything is drawn; as it is when absent.

    Returns:
        ``(h, w, 3)`` RGB.
    """
    canvas = Image.fromarray(picture.image)
    scale = 1.0
    if size is not None:
        scale = min(size[0] / canvas.width, size[1] / canvas.height)
        shape = (max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale)))
        canvas = canvas.resize(shape, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(canvas)
    for boxes, color in (
        (picture.ignored, IGNORED),
        (picture.hits, HIT),
        (picture.false_alarms, FALSE_ALARM),
    ):
        for row in boxes * scale:
            draw.rectangle(_corners(row), outline=color, width=1 if row[2] < _SMALL else 2)
    for row in picture.misses * scale:
        _draw_dashed(draw, _corners(row), MISS)
    for boxes, color in ((picture.hits, HIT), (picture.false_alarms, FALSE_ALARM)):
        for row in boxes:
            _draw_score(draw, _corners(row * scale), row[4], color)
    return np.asarray(canvas)


def write_page(
    path: Path,
    pictures: Sequence[MatchedPicture],
    *,
    title: str = "",
    columns: int = 4,
    cell: tuple[int, int] = (440, 330),
) -> Path:
    """Write pictures with their boxes side by side into one file.

    Args:
        path: File to write.
        pictures: The pictures, in reading order.
        title: Title of the page.
        columns: Pictures in a row.
        cell: Width and height that each picture is fitted into.

    Returns:
        The file written.
    """
    columns = max(1, min(columns, len(pictures)))
    n_rows = -(-len(pictures) // columns)
    width = max(_GAP + columns * (cell[0] + _GAP), 640)
    height = _HEADER + n_rows * (cell[1] + _CAPTION + _GAP)
    page = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(page)
    _draw_header(draw, width, title)
    for i, picture in enumerate(pictures):
        drawn = Image.fromarray(draw_picture(picture, cell))
        x = _GAP + i % columns * (cell[0] + _GAP)
        y = _HEADER + i // columns * (cell[1] + _CAPTION + _GAP)
        page.paste(drawn, (x + (cell[0] - drawn.width) // 2, y + cell[1] - drawn.height))
        caption = (
            f"{len(picture.hits)} found, {len(picture.misses)} missed, "
            f"{len(picture.false_alarms)} false"
        )
        counts = draw.textlength(caption, _font(12))
        draw.text((x + cell[0] - counts, y + cell[1] + 4), caption, "#666666", _font(12))
        name = _shorten(draw, picture.title, cell[0] - counts - _GAP)
        draw.text((x, y + cell[1] + 4), name, _INK, _font(12))
    with replacing(path) as temporary:
        page.save(temporary)
    return path


def _draw_header(draw: ImageDraw.ImageDraw, width: int, title: str) -> None:
    """Draw the title to the left and the meaning of the colours to the right."""
    font, x = _font(13), float(width - _GAP)
    for text, color in (
        ("not evaluated", IGNORED),
        ("false alarm", FALSE_ALARM),
        ("missed", MISS),
        ("found", HIT),
    ):
        x -= draw.textlength(text, font)
        draw.text((x, 9), text, _INK, font)
        swatch = (round(x) - 26, 11, round(x) - 7, 24)
        if color == MISS:
            _draw_dashed(draw, swatch, color)
        else:
            draw.rectangle(swatch, outline=color, width=2)
        x -= 44
    draw.text((_GAP, 8), _shorten(draw, title, x, size=15), _INK, _font(15))


def _draw_dashed(draw: ImageDraw.ImageDraw, corners: tuple[int, int, int, int], color: str) -> None:
    """Draw a dashed rectangle, two pixels wide."""
    x1, y1, x2, y2 = corners
    for x in range(x1, x2, 2 * _DASH):
        for y in (y1, y2 - 1):
            draw.rectangle((x, y, min(x + _DASH - 1, x2), y + 1), fill=color)
    for y in range(y1, y2, 2 * _DASH):
        for x in (x1, x2 - 1):
            draw.rectangle((x, y, x + 1, min(y + _DASH - 1, y2)), fill=color)


def _draw_score(
    draw: ImageDraw.ImageDraw, corners: tuple[int, int, int, int], score: float, color: str
) -> None:
    """Write a score above its box, if the box is wide enough to tell whose score it is."""
    x1, y1, x2, _ = corners
    text, font = f"{score:.2f}".removeprefix("0"), _font(10)
    width = draw.textlength(text, font)
    if x2 - x1 < width:
        return
    y = y1 - 12 if y1 >= 12 else y1
    draw.rectangle((x1, y, x1 + width + 3, y + 12), fill=color)
    draw.text((x1 + 2, y), text, _PAPER, font)


def _corners(row: Floats) -> tuple[int, int, int, int]:
    """Turn x, y, width, height into drawable corners, also where a box is turned inside out.

    Far outside of any page, where Pillow would count pixels for minutes, a box is cut off.
    """
    corners = [row[0], row[1], row[0] + row[2], row[1] + row[3]]
    x, y, right, bottom = (round(value) for value in np.clip(corners, -_FAR, _FAR))
    return x, y, max(x, right), max(y, bottom)


def _shorten(draw: ImageDraw.ImageDraw, text: str, width: float, size: int = 12) -> str:
    """Cut a text from the left until it fits; the end of a file name tells more."""
    if draw.textlength(text, _font(size)) <= width:
        return text
    while text and draw.textlength("…" + text, _font(size)) > width:
        text = text[1:]
    return "…" + text


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that Pillow brings, so that pictures look the same everywhere."""
    return ImageFont.load_default(size)
