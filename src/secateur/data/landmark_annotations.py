"""Annotations of WIDER FACE with five landmarks: ``labelv2.txt`` and RetinaFace's ``label.txt``.

Both list a picture by a line ``# event/file.jpg``, and one face per line after it. With the size of
the picture in that line (SCRFD, YuNet) a face is told by its corners, else (RetinaFace) by x, y,
width and height. Then come x, y and flag of the landmarks, three times -1 where one is absent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secateur.data.annotations import Annotation, check_picture_name
from secateur.data.landmarks import COUNT
from secateur.errors import InputError
from secateur.readers import read_lines

SMALLEST_SIDE = 32  # of a picture, as published
_LANDMARK_VALUES = 4 + 3 * COUNT
_REMEDY = "get the file again, or mend this line"


def read_landmark_annotations(path: Path) -> list[Annotation]:
    """Read either format, told apart by the first line of each picture.

    A landmark has the weight 1 whether it is visible or not, and 0 where it is absent. Faces that
    shall be ignored are left out, and so are boxes without area. A picture that is listed twice has
    the faces of its last record, at the place of its first.

    Args:
        path: The text file.

    Returns:
        Pictures with at least one face and no side below 32 pixels, as far as the file tells it.

    Raises:
        InputError: If the file is missing or malformed, with the line number.
    """
    if not path.exists():
        raise InputError(
            f"model.landmarks={path} does not exist: give labelv2.txt of SCRFD or label.txt of "
            "RetinaFace, or null to train without landmarks"
        )
    lines = read_lines(path, _REMEDY)
    faces: dict[str, list[tuple[float, ...]]] = {}
    name, has_size, usable = "", False, False
    for row, line in enumerate(lines):
        if line.startswith("#"):
            name, has_size, usable = _header(path, row, line)
            if usable:
                faces[name] = []
        elif line.strip():
            if not name:
                raise _error(path, row, "a face comes before the first line '# picture'")
            face = _face(path, row, line, has_size)
            if usable and face is not None:
                faces[name].append(face)
    annotations = [_annotation(name, rows) for name, rows in faces.items() if rows]
    if not annotations:
        raise InputError(f"{path} lists no face: {_REMEDY}")
    return annotations


def with_landmarks(
    annotations: Sequence[Annotation], marked: Sequence[Annotation]
) -> list[Annotation]:
    """Pictures of ``annotations``, with the faces of ``marked`` where that lists the picture."""
    by_name = {item.name: item for item in marked}
    return [by_name.get(item.name, item) for item in annotations]


def landmarks_of_boxes(
    boxes: NDArray[np.floating], annotation: Annotation
) -> NDArray[np.float32] | None:
    """Landmarks (G, 5, 3) of boxes (G, 4) x, y, width, height, found by equal boxes.

    Boxes that the annotation does not tell, to a pixel, have landmarks of weight 0.
    """
    if annotation.landmarks is None or not len(boxes):
        return None
    distance = np.abs(boxes[:, None] - annotation.boxes[None].astype(np.float64)).max(axis=2)
    nearest = distance.argmin(axis=1)
    landmarks: NDArray[np.float32] = annotation.landmarks[nearest].copy()
    landmarks[distance.min(axis=1) > 1] = 0
    return landmarks


def write_landmark_annotations(
    path: Path, annotations: Sequence[Annotation], sizes: Sequence[tuple[int, int]]
) -> None:
    """Write ``labelv2.txt``.

    Args:
        path: File to write.
        annotations: Pictures in the order wanted.
        sizes: Height and width of each picture.
    """
    lines = []
    for annotation, (height, width) in zip(annotations, sizes, strict=True):
        lines.append(f"# {annotation.name} {width} {height}")
        for index, (x, y, w, h) in enumerate(annotation.boxes.tolist()):
            values = [x, y, x + w, y + h]
            if annotation.landmarks is not None:
                for px, py, weight in annotation.landmarks[index].tolist():
                    values += [px, py, 0] if weight > 0 else [-1, -1, -1]
            lines.append(" ".join(f"{value:.9g}" for value in values))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _header(path: Path, row: int, line: str) -> tuple[str, bool, bool]:
    """Picture name, whether its size is given, and whether the picture is large enough."""
    fields = line[1:].split()
    if len(fields) not in (1, 3):
        raise _error(path, row, f"expected '# picture' or '# picture width height', got {line!r}")
    name = check_picture_name(path, row, fields[0])
    if len(fields) == 1:
        return name, False, True
    try:
        sides = [int(value) for value in fields[1:]]
    except ValueError as error:
        raise _error(path, row, f"the size of {name} is not two whole numbers") from error
    return name, True, min(sides) >= SMALLEST_SIDE


def _face(path: Path, row: int, line: str, corners: bool) -> tuple[float, ...] | None:
    """Box and landmarks (19 values) of one face, or None if it is to be left out."""
    try:
        values = [float(value) for value in line.split()]
    except ValueError as error:
        raise _error(path, row, f"a face is not made of numbers: {line.strip()!r}") from error
    if not all(map(math.isfinite, values)):
        raise _error(path, row, f"a face has a value that is not finite: {line.strip()!r}")
    allowed = len(values) in (4, 5) or len(values) >= _LANDMARK_VALUES
    if not allowed:
        raise _error(path, row, f"a face needs 4, 5 or 19 values, got {len(values)}")
    if corners and len(values) == 5 and values[4] == 1:
        return None
    x, y, width, height = values[:4]
    if corners:
        width, height = width - x, height - y
    if width <= 0 or height <= 0:
        return None
    landmarks = [0.0] * (3 * COUNT)
    for start in range(4, _LANDMARK_VALUES if len(values) >= _LANDMARK_VALUES else 4, 3):
        px, py, flag = values[start : start + 3]
        if (px, py) == (-1, -1):
            continue
        if flag < 0:
            raise _error(path, row, f"the landmark at {px:g}, {py:g} has the flag of an absent one")
        landmarks[start - 4 : start - 1] = [px, py, 1.0]
    return (x, y, width, height, *landmarks)


def _annotation(name: str, rows: Sequence[tuple[float, ...]]) -> Annotation:
    """The faces of one picture."""
    table: NDArray[np.float32] = np.array(rows, dtype=np.float32)
    return Annotation(name, table[:, :4], table[:, 4:].reshape(-1, COUNT, 3))


def _error(path: Path, row: int, what: str) -> InputError:
    """An error that names file, line and remedy; ``row`` counts from 0."""
    return InputError(f"{path}, line {row + 1}: {what}; {_REMEDY}")
