"""The official ground truth of WIDER FACE: four .mat files with the Easy, Medium, Hard lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from secateur.data.matlab import read_matlab
from secateur.errors import InputError

OFFICIAL_SETTINGS = ("easy", "medium", "hard")
FILES = ("wider_face_val.mat", *(f"wider_{setting}_val.mat" for setting in OFFICIAL_SETTINGS))
_VARIABLES = ("event_list", "file_list", "face_bbx_list", "gt_list")
_FARTHEST = 1e6  # pixels
_REMEDY = "get the four files again from eval_tools.zip of WIDER FACE"


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """Boxes and evaluated faces of pictures, in the official order.

    Attributes:
        boxes: Picture name ``event/file.jpg`` to (G, 4) x, y, width, height in pixels.
        evaluated: Picture name to (3, G), whether a face counts in Easy, Medium, Hard; the
            others are ignored there.
    """

    boxes: Mapping[str, NDArray[np.float64]]
    evaluated: Mapping[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.boxes)

    def restrict(self, names: Iterable[str]) -> GroundTruth:
        """The pictures among ``names``; names without ground truth are passed over."""
        wanted = set(names)
        kept = [name for name in self.boxes if name in wanted]
        return GroundTruth(
            {name: self.boxes[name] for name in kept},
            {name: self.evaluated[name] for name in kept},
        )


SMALLEST_FACES = (50, 30, 10)
"""Least height in pixels of a face in the stand-ins for Easy, Medium and Hard."""


def lists_by_size(boxes: Mapping[str, NDArray[Any]]) -> GroundTruth:
    """Stand-ins for the official lists, which exist for validation pictures alone.

    Args:
        boxes: Picture name to (G, 4) x, y, width, height in pixels.

    Returns:
        Faces at least 50, 30 and 10 pixels high under the names of Easy, Medium and Hard.

    Examples:
        >>> truth = lists_by_size({"a/b.jpg": np.array([[0, 0, 9, 60], [0, 0, 9, 20]])})
        >>> truth.evaluated["a/b.jpg"].tolist()
        [[True, False], [True, False], [True, True]]
    """
    heights = np.array(SMALLEST_FACES)[:, None]
    evaluated = {name: (rows[:, 3] >= heights) & (rows[:, 2] > 0) for name, rows in boxes.items()}
    return GroundTruth({name: rows.astype(np.float64) for name, rows in boxes.items()}, evaluated)


def read_ground_truth(folder: Path) -> GroundTruth:
    """Read ``wider_face_val.mat`` and the three lists beside it.

    Args:
        folder: Folder that holds the four files.

    Returns:
        All pictures of the files.

    Raises:
        InputError: If a file is missing, not MATLAB's, or the four do not fit together.
    """
    if absent := [name for name in FILES if not (folder / name).is_file()]:
        raise InputError(f"{folder / absent[0]} is missing: {_REMEDY}")
    faces, *lists = (read_matlab(folder / name, _REMEDY, _VARIABLES) for name in FILES)
    boxes: dict[str, NDArray[np.float64]] = {}
    evaluated: dict[str, NDArray[np.bool_]] = {}
    path = folder / FILES[0]
    events = [_name(cell, path, "event_list") for cell in _cells(faces, "event_list", path)]
    pictures_of = _events(faces, "file_list", path, len(events))
    boxes_of = _events(faces, "face_bbx_list", path, len(events))
    lists_of = [
        (_events(content, "gt_list", folder / file), folder / file)
        for content, file in zip(lists, FILES[1:], strict=True)
    ]
    for row, event in enumerate(events):
        pictures = [f"{event}/{_name(cell, path, 'file_list')}.jpg" for cell in pictures_of[row]]
        if len(boxes_of[row]) != len(pictures):
            raise InputError(
                f"{path} has not as many lists of boxes as pictures in {event}: {_REMEDY}"
            )
        for setting, (cells, file) in enumerate(lists_of):
            listed = len(cells[row]) if row < len(cells) else 0
            if listed < len(pictures):
                raise InputError(f"{file} has no entry for {pictures[listed]}: {_REMEDY}")
            for number, name in enumerate(pictures):
                if setting == 0:
                    if name in boxes:
                        raise InputError(f"{path} names {name} twice: {_REMEDY}")
                    boxes[name] = _boxes(boxes_of[row][number], path, name)
                    evaluated[name] = np.zeros(
                        (len(OFFICIAL_SETTINGS), len(boxes[name])), dtype=np.bool_
                    )
                indices = _indices(cells[row][number], file, name, len(boxes[name]))
                evaluated[name][setting, indices] = True
    return GroundTruth(boxes, evaluated)


def write_ground_truth(folder: Path, truth: GroundTruth) -> None:
    """Write the four files in the official structure.

    Args:
        folder: Existing folder.
        truth: Pictures; those of one event must follow each other, all named ``event/x.jpg``.

    Raises:
        ValueError: If the pictures of an event are scattered.
    """
    events = [
        (event, list(names)) for event, names in groupby(truth.boxes, key=lambda n: n.split("/")[0])
    ]
    if len({event for event, _ in events}) != len(events):
        raise ValueError("the pictures of one event must follow each other")
    common = {
        "event_list": _column([np.array([event]) for event, _ in events]),
        "file_list": _column(
            [
                _column([np.array([n.split("/", 1)[1].removesuffix(".jpg")]) for n in names])
                for _, names in events
            ]
        ),
        "face_bbx_list": _column(
            [_column([_compact(truth.boxes[name]) for name in names]) for _, names in events]
        ),
    }
    scipy.io.savemat(folder / FILES[0], common, do_compression=True)
    for setting, file in enumerate(FILES[1:]):
        lists = _column(
            [
                _column(
                    [
                        (np.flatnonzero(truth.evaluated[name][setting]) + 1)
                        .astype(np.uint16)
                        .reshape(-1, 1)
                        for name in names
                    ]
                )
                for _, names in events
            ]
        )
        scipy.io.savemat(folder / file, {**common, "gt_list": lists}, do_compression=True)


def _cells(content: Mapping[str, Any], key: str, path: Path) -> NDArray[np.object_]:
    """A cell array as a flat array of objects."""
    cells = content.get(key)
    if not isinstance(cells, np.ndarray) or cells.dtype != object:
        raise InputError(f"{path} has no cell array {key}: {_REMEDY}")
    return cells.ravel()


def _events(
    content: Mapping[str, Any], key: str, path: Path, count: int | None = None
) -> list[NDArray[np.object_]]:
    """A cell array that holds a cell array for each event."""
    cells = _cells(content, key, path)
    if count is not None and len(cells) != count:
        raise InputError(f"{path} has {len(cells)} events in {key}, not {count}: {_REMEDY}")
    return [_cells({key: cell}, key, path) for cell in cells]


def _name(cell: object, path: Path, key: str) -> str:
    """The name in a cell, which can be a part of a path."""
    while isinstance(cell, np.ndarray) and cell.dtype == object and cell.size == 1:
        cell = cell.ravel()[0]
    if not isinstance(cell, np.ndarray) or cell.dtype.kind != "U" or cell.size != 1:
        raise InputError(f"{path} has something else than a name in {key}: {_REMEDY}")
    text = str(cell.ravel()[0])
    if not text.isprintable() or "/" in text or text in ("", ".", ".."):
        raise InputError(f"{path} has the name {text[:40]!r} in {key}, which is none: {_REMEDY}")
    return text


def _boxes(cell: object, path: Path, name: str) -> NDArray[np.float64]:
    """Boxes (G, 4) of one picture."""
    if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "iuf" or cell.ndim != 2:
        raise InputError(f"{path} has no boxes for {name}: {_REMEDY}")
    if cell.size == 0:
        return np.zeros((0, 4))
    rows = cell.astype(np.float64)
    if rows.shape[1] != 4 or not (np.abs(rows) <= _FARTHEST).all():  # NaN is no pixel either
        raise InputError(f"{path} has boxes for {name} that are none: {_REMEDY}")
    return rows


def _indices(cell: object, path: Path, name: str, count: int) -> NDArray[np.int64]:
    """The faces of one picture that a list names, from 0."""
    if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "iuf":
        raise InputError(f"{path} has no entry for {name}: {_REMEDY}")
    numbers = cell.ravel()
    fits = (numbers >= 1) & (numbers <= count)
    if not fits.all():
        wrong = numbers[~fits].max()
        raise InputError(f"{path} names face {wrong} of {count} in {name}: {_REMEDY}")
    indices = numbers.astype(np.int64)
    if (indices != numbers).any() or len(np.unique(indices)) != len(indices):
        raise InputError(f"{path} names a face of {name} twice or by half: {_REMEDY}")
    return indices - 1


def _column(items: Iterable[Any]) -> NDArray[np.object_]:
    """Items as a MATLAB cell column (n, 1)."""
    values = list(items)
    cells = np.empty((len(values), 1), dtype=object)
    for row, value in enumerate(values):
        cells[row, 0] = value
    return cells


def _compact(boxes: NDArray[np.float64]) -> NDArray[Any]:
    """Boxes as the official int32 when nothing is lost."""
    whole = boxes.astype(np.int32)
    return whole if np.array_equal(whole, boxes) else boxes
