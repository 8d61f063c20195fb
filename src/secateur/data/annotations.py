"""The annotation text of WIDER FACE: one picture name, a count, and one line per face."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from secateur.errors import InputError

_REMEDY = "get wider_face_split.zip again, or mend this line"
_COUNT = re.compile(r"\d+")
_PICTURE = re.compile(r"\.(jpe?g|png|bmp|webp)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """The faces of one picture.

    Attributes:
        name: ``event/file.jpg``, relative to the folder of the split's images.
        boxes: (G, 4) x, y, width, height in stored pixels.
        landmarks: (G, 5, 3) x, y and weight of five landmarks, see ``landmarks``; None where the
            file tells none.
    """

    name: str
    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32] | None = None

    def select(self, chosen: NDArray[np.bool_]) -> Annotation:
        """The same picture with some of its faces; ``chosen`` is (G,)."""
        landmarks = None if self.landmarks is None else self.landmarks[chosen]
        return Annotation(self.name, self.boxes[chosen], landmarks)


def read_annotations(path: Path) -> list[Annotation]:
    """Read a file such as ``wider_face_train_bbx_gt.txt``.

    Each box line holds x, y, width, height and possibly flags (blur, expression, ...), which are
    ignored; all lines of a file hold the same number of values. A picture without faces has the
    count 0, and the official files add one line of zeros to it.

    Args:
        path: The text file.

    Returns:
        Every picture in the order of the file, with all boxes, degenerate ones included.

    Raises:
        InputError: If the file is missing, cut short or malformed, with the line number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing: unpack wider_face_split.zip of WIDER FACE there"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({error}): {_REMEDY}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise InputError(f"{path} is empty: {_REMEDY}")
    annotations: list[Annotation] = []
    columns = 0
    row = 0
    while row < len(lines):
        name = check_picture_name(path, row, lines[row])
        if row + 1 == len(lines):
            raise _error(
                path, row, f"the file ends after the name {name}, without a count of faces"
            )
        count_text = lines[row + 1].strip()
        if not _COUNT.fullmatch(count_text):
            raise _error(
                path, row + 1, f"expected the count of faces of {name}, got {count_text!r}"
            )
        count = int(count_text)
        row += 2
        block = lines[row : row + count]
        if len(block) < count:
            raise _error(
                path,
                row + len(block) - 1,
                f"the file ends in the middle of {name}: {len(block)} of {count} faces are there",
            )
        boxes, columns = _parse_boxes(path, row, name, block, columns)
        annotations.append(Annotation(name, boxes))
        row += count
        if count == 0 and row < len(lines) and _is_zero_line(lines[row]):
            row += 1
    return annotations


def write_annotations(path: Path, annotations: Iterable[Annotation]) -> None:
    """Write the official form: ten values per face, flags zero, whole numbers without point.

    Args:
        path: File to write.
        annotations: Pictures in the order wanted.
    """
    lines: list[str] = []
    for annotation in annotations:
        lines += [annotation.name, str(len(annotation.boxes))]
        lines += [
            " ".join(f"{value:.9g}" for value in box) + " 0 0 0 0 0 0 " for box in annotation.boxes
        ]
        if len(annotation.boxes) == 0:
            lines.append("0 0 0 0 0 0 0 0 0 0 ")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def without_degenerate_boxes(annotations: Sequence[Annotation]) -> list[Annotation]:
    """Drop boxes without area; pictures stay, even when no box is left.

    Args:
        annotations: What ``read_annotations`` returned.

    Returns:
        The same pictures with boxes of positive width and height only.
    """
    return [item.select((item.boxes[:, 2] > 0) & (item.boxes[:, 3] > 0)) for item in annotations]


def check_picture_name(path: Path, row: int, line: str) -> str:
    """The picture name in a line of an annotation, kept inside the folder of images.

    Args:
        path: Path of the annotation, for the error.
        row: Row of the line, from 0.
        line: The name alone.

    Raises:
        InputError: If it is no picture name or leaves the folder.
    """
    name = line.strip()
    if not _PICTURE.search(name):
        raise _error(path, row, f"expected a picture name such as event/file.jpg, got {name!r}")
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise _error(path, row, f"the picture name {name!r} leaves the folder of images")
    return name


def _parse_boxes(
    path: Path, row: int, name: str, block: Sequence[str], columns: int
) -> tuple[NDArray[np.float32], int]:
    """Boxes (G, 4) of consecutive lines, and the number of values per line in this file."""
    if not block:
        return np.zeros((0, 4), np.float32), columns
    fields = [line.split() for line in block]
    columns = columns or len(fields[0])
    for offset, values in enumerate(fields):
        if len(values) != columns or columns < 4:
            wanted = columns if columns >= 4 else "at least 4"
            raise _error(
                path,
                row + offset,
                f"a face of {name} needs {wanted} numbers (x y width height ...), got "
                f"{block[offset].strip()!r}",
            )
    try:
        boxes = np.array([values[:4] for values in fields], dtype=np.float32)
    except ValueError as error:
        bad = next(i for i, values in enumerate(fields) if not _are_numbers(values[:4]))
        raise _error(
            path, row + bad, f"a face of {name} is not four numbers: {block[bad].strip()!r}"
        ) from error
    finite = np.isfinite(boxes).all(axis=1)
    if not finite.all():
        bad = int(np.argmin(finite))
        raise _error(
            path,
            row + bad,
            f"a face of {name} has a value that is not finite: {block[bad].strip()!r}",
        )
    return boxes, columns


def _are_numbers(values: Sequence[str]) -> bool:
    """Whether every text is a number."""
    try:
        return all(not math.isnan(float(value)) for value in values)
    except ValueError:
        return False


def _is_zero_line(line: str) -> bool:
    """Whether a line holds nothing but zeros."""
    values = line.split()
    return bool(values) and all(value == "0" for value in values)


def _error(path: Path, row: int, what: str) -> InputError:
    """An error that names file, line and remedy; ``row`` counts from 0."""
    return InputError(f"{path}, line {row + 1}: {what}; {_REMEDY}")
