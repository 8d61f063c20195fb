"""Predictions as the text files of the WIDER FACE benchmark: ``<event>/<image>.txt``.

Line 1 names the picture, line 2 counts the faces, and every further line holds
``x y width height score``. A box that spans the pixels x1 to x2 is x2 - x1 + 1 wide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secateur.errors import InputError
from secateur.files import atomic_write
from secateur.readers import count_in, number_in, read_text

_FARTHEST = 1e12  # pixels; a network that was never trained may say 1e9

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions read from a folder of files.

    Attributes:
        boxes: ``(P, 5)`` x, y, width, height, score of each picture that has a file.
        missing: Pictures without a file; the benchmark takes them for pictures without a face.
    """

    boxes: dict[str, Floats]
    missing: tuple[str, ...]


def from_corners(detections: ArrayLike) -> Floats:
    """Convert corners to the box convention of the files.

    Args:
        detections: ``(P, 5)`` x1, y1, x2, y2, score in pixels.

    Returns:
        ``(P, 5)`` x, y, width, height, score, where width is x2 - x1 + 1.
    """
    rows = np.array(detections, dtype=np.float64).reshape(-1, 5)
    rows[:, 2:4] = rows[:, 2:4] - rows[:, :2] + 1
    return rows


def read_predictions(folder: Path, names: Iterable[str]) -> Predictions:
    """Read the prediction files of some pictures.

    Args:
        folder: Folder with one folder per event.
        names: Pictures as ``event/file.jpg``; ``event/file.txt`` is read for each.

    Returns:
        The boxes of every picture, and the pictures without a file.

    Raises:
        InputError: The folder does not exist or holds a file for none of the pictures, or a file
            is malformed.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder of predictions at {folder}.")
    boxes: dict[str, Floats] = {}
    missing = []
    for name, file in prediction_files(names).items():
        try:
            boxes[name] = read_prediction_file(folder / file)
        except FileNotFoundError:
            missing.append(name)
    if missing and not boxes:
        raise InputError(
            f"{folder} holds no prediction for any of the {len(missing)} pictures; the first one "
            f"is expected at {PurePosixPath(missing[0]).with_suffix('.txt')}."
        )
    return Predictions(boxes, tuple(missing))


def prediction_files(names: Iterable[str]) -> dict[str, PurePosixPath]:
    """The file of each picture, relative to the folder of predictions.

    Args:
        names: Pictures as ``event/file.jpg``.

    Raises:
        InputError: If two pictures would share a file, as ``a.jpg`` and ``a.png`` do.
    """
    files: dict[str, PurePosixPath] = {}
    owners: dict[PurePosixPath, str] = {}
    for name in names:
        file = PurePosixPath(name).with_suffix(".txt")
        if owners.setdefault(file, name) != name:
            raise InputError(
                f"{owners[file]} and {name} share the prediction file {file}: rename one of them"
            )
        files[name] = file
    return files


def read_prediction_file(path: Path) -> Floats:
    """Read one prediction file.

    Args:
        path: The file.

    Returns:
        ``(P, 5)`` x, y, width, height, score, in the order of the file.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is malformed; the message names the line.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    text = read_text(path, "write it again, or remove it to count the picture as empty")
    lines = text.rstrip().split("\n")
    if len(lines) < 2:
        raise InputError(f"{path} ends before line 2, which must give the number of faces.")
    count = count_in(lines[1])
    if count is None:
        raise InputError(f"{path}, line 2: '{lines[1].strip()}' is not a number of faces.")
    rows = [line.split() for line in lines[2:]]
    if len(rows) != count:
        raise InputError(f"{path}, line 2: {count} faces are announced, but {len(rows)} follow.")
    if not rows:
        return np.empty((0, 5))
    if set(map(len, rows)) == {5}:
        try:
            boxes = np.array(rows, dtype=np.float64)
        except ValueError:
            pass
        else:
            if (np.abs(boxes) <= _FARTHEST).all():
                return boxes
    raise InputError(f"{path}, {_describe_fault(rows)}")


def write_predictions(folder: Path, predictions: Mapping[str, ArrayLike]) -> None:
    """Write prediction files, coordinates with one decimal and scores with three.

    Args:
        folder: Folder to write to; it and the folders of the events are made.
        predictions: ``(P, 5)`` x, y, width, height, score for each ``event/file.jpg``.
    """
    files = prediction_files(predictions)
    for name, boxes in predictions.items():
        rows = np.asarray(boxes, dtype=np.float64).reshape(-1, 5)
        lines = [name, str(len(rows)), *_format(rows)]
        atomic_write(folder / files[name], "\n".join(lines) + "\n", sync=False)


def as_written(boxes: ArrayLike) -> Floats:
    """Boxes as they are read back after `write_predictions`.

    The benchmark scores files, and the decimals that these lack decide between equal scores, so
    figures of the same detector differ in the third decimal where boxes are scored unrounded.

    Args:
        boxes: ``(P, 5)`` x, y, width, height, score.
    """
    lines = _format(np.asarray(boxes, dtype=np.float64).reshape(-1, 5))
    return np.array([line.split() for line in lines], dtype=np.float64).reshape(-1, 5)


def _format(rows: Floats) -> list[str]:
    """One line per box, coordinates with one decimal and the score with three."""
    return [f"{x:.1f} {y:.1f} {w:.1f} {h:.1f} {s:.3f}" for x, y, w, h, s in rows.tolist()]


def _describe_fault(rows: list[list[str]]) -> str:
    """Name the first line that is not five finite numbers."""
    for line, row in enumerate(rows, start=3):
        if len(row) != 5:
            return f"line {line}: 5 numbers (x y width height score) are expected, got {len(row)}."
        for word in row:
            number = number_in(word)
            if number is None:
                return f"line {line}: '{word[:40]}' is not a finite number."
            if abs(number) > _FARTHEST:
                return f"line {line}: '{word[:40]}' is farther than {_FARTHEST:g} pixels."
    return "line 3: not all of its words are plain decimal numbers."
