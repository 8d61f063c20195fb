"""The annotation text of WIDER FACE: one picture name, a count, and one line per face."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from secateur.errors import InputError
from secateur.readers import count_in, number_in, read_lines

_REMEDY = "get wider_face_split.zip again, or mend this line"
_FARTHEST = 1e6  # pixels
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
    if not path.exists():
        raise InputError(f"{path} is missing: unpack wider_face_split.zip of WIDER FACE there")
    lines = read_lines(path, _REMEDY)
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise InputError(f"{path} is empty: {_REMEDY}")
    annotations: list[Annotation] = []
    named: dict[str, int] = {}
    columns = 0
    row = 0
    while row < len(lines):
        name = check_picture_name(path, row, lines[row])
        if row + 1 == len(lines):
            raise _error(
                path, row, f"the file ends after the name {name}, without a count of faces"
            )
        count_text = lines[row + 1].strip()
        count = count_in(count_text)
        if count is None:
            raise _error(
                path, row + 1, f"expected the count of faces of {name}, got {count_text!r}"
            )
        row += 2
        block = lines[row : row + count]
        if len(block) < count:
            raise _error(
                path,
                row + len(block) - 1,
                f"the file ends in the middle of {name}: {len(block)} of {count} faces are there",
            )
        boxes, columns = _parse_boxes(path, row, name, block, columns)
        if name in named:
            raise _error(
                path, row - 2, f"{name} is listed a second time, the first was line {named[name]}"
            )
        named[name] = row - 1
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
    name = line.strip().removeprefix("./")
    if not name.isprintable():
        raise _error(path, row, f"expected a picture name such as event/file.jpg, got {name!r}")
    if not _PICTURE.search(name):
        raise _error(path, row, f"expected a picture name such as event/file.jpg, got {name!r}")
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise _error(path, row, f"the picture name {name!r} leaves the folder of images")
    return parts.as_posix()


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
    rows = [[number_in(value) for value in values[:4]] for values in fields]
    for offset, numbers in enumerate(rows):
        if any(number is None for number in numbers):
            shown = repr(block[offset].strip()[:80])
            infinite = all(
                _is_not_finite(v) or n is not None
                for v, n in zip(fields[offset], numbers, strict=False)
            )
            what = "has a value that is not finite" if infinite else "is not four numbers"
            raise _error(path, row + offset, f"a face of {name} {what}: {shown}")
        if any(abs(number or 0.0) > _FARTHEST for number in numbers):
            raise _error(
                path, row + offset, f"a face of {name} is farther than {_FARTHEST:g} pixels"
            )
    boxes = np.array(rows, dtype=np.float32)
    return boxes, columns


def _is_not_finite(word: str) -> bool:
    """Whether a word says NaN or infinity."""
    return word.lower().lstrip("+-") in ("nan", "inf", "infinity")


def _is_zero_line(line: str) -> bool:
    """Whether a line holds nothing but zeros."""
    values = line.split()
    return bool(values) and all(value == "0" for value in values)


def _error(path: Path, row: int, what: str) -> InputError:
    """An error that names file, line and remedy; ``row`` counts from 0."""
    return InputError(f"{path}, line {row + 1}: {what}; {_REMEDY}")
