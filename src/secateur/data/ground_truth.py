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

from secateur.errors import InputError

OFFICIAL_SETTINGS = ("easy", "medium", "hard")
FILES = ("wider_face_val.mat", *(f"wider_{setting}_val.mat" for setting in OFFICIAL_SETTINGS))
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


def read_ground_truth(folder: Path) -> GroundTruth:
    """Read ``wider_face_val.mat`` and the three lists beside it.

    Args:
        folder: Where the four files lie.

    Returns:
        All pictures of the files.

    Raises:
        InputError: If a file is missing, not MATLAB's, or the four do not fit together.
    """
    faces, *lists = (_load(folder / name) for name in FILES)
    boxes: dict[str, NDArray[np.float64]] = {}
    evaluated: dict[str, NDArray[np.bool_]] = {}
    path = folder / FILES[0]
    for event_row, event_cell in enumerate(_cells(faces, "event_list", path)):
        event = _text(event_cell)
        pictures = _cells(faces, "file_list", path)[event_row].ravel()
        event_boxes = _cells(faces, "face_bbx_list", path)[event_row].ravel()
        for row, picture in enumerate(pictures):
            name = f"{event}/{_text(picture)}.jpg"
            rows = np.asarray(event_boxes[row], dtype=np.float64).reshape(-1, 4)
            keep = np.zeros((len(OFFICIAL_SETTINGS), len(rows)), dtype=np.bool_)
            for setting, (content, file) in enumerate(zip(lists, FILES[1:], strict=True)):
                keep[setting] = _keep_mask(content, folder / file, event_row, row, name, len(rows))
            boxes[name] = rows
            evaluated[name] = keep
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


def _load(path: Path) -> dict[str, Any]:
    """Content of one .mat file."""
    if not path.is_file():
        raise InputError(f"{path} is missing: {_REMEDY}")
    try:
        content: dict[str, Any] = scipy.io.loadmat(path)
    except Exception as error:  # scipy lets many kinds escape from a broken file
        raise InputError(f"{path} is not a readable MATLAB file ({error}): {_REMEDY}") from error
    return content


def _cells(content: Mapping[str, Any], key: str, path: Path) -> NDArray[np.object_]:
    """A cell array as a flat array of objects."""
    cells = content.get(key)
    if not isinstance(cells, np.ndarray) or cells.dtype != object:
        raise InputError(f"{path} has no cell array {key}: {_REMEDY}")
    return cells.ravel()


def _text(cell: Any) -> str:  # noqa: ANN401 - scipy nests text in arrays of arrays
    """The text in a cell."""
    while isinstance(cell, np.ndarray):
        cell = cell.ravel()[0]
    return str(cell)


def _keep_mask(
    content: Mapping[str, Any], path: Path, event_row: int, row: int, name: str, count: int
) -> NDArray[np.bool_]:
    """Mask (G,) from the 1-based indices that a list gives for one picture."""
    try:
        indices = np.asarray(_cells(content, "gt_list", path)[event_row].ravel()[row])
    except IndexError as error:
        raise InputError(f"{path} has no entry for {name}: {_REMEDY}") from error
    indices = indices.ravel().astype(np.int64)
    if indices.size and (indices.min() < 1 or indices.max() > count):
        raise InputError(f"{path} names face {indices.max()} of {count} in {name}: {_REMEDY}")
    mask = np.zeros(count, dtype=np.bool_)
    mask[indices - 1] = True
    return mask


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
