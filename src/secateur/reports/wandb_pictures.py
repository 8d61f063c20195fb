"""Pictures whose boxes Weights & Biases draws itself: detections, and the faces that are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.reports.pictures import MatchedPicture

_CLASSES = {0: "found", 1: "false alarm", 2: "not evaluated", 3: "face"}
_COLUMNS = ("picture", "boxes", "faces", "found", "missed", "false alarms")


def box_overlays(picture: MatchedPicture) -> dict[str, Any]:
    """The boxes of a picture in two layers that a person can switch on and off.

    Args:
        picture: The picture and the verdict on every box.

    Returns:
        ``detections``, which can be filtered by score, and ``ground_truth``, as ``wandb.Image``
        takes them. Boxes are cut at the edges of the picture, where W&B would refuse them.
    """
    rows = [
        (row, label)
        for label, boxes in enumerate((picture.hits, picture.false_alarms, picture.ignored))
        for row in boxes
    ]
    shape = (picture.image.shape[1], picture.image.shape[0])
    detections = [
        {
            "position": _position(row, shape),
            "domain": "pixel",
            "class_id": label,
            "scores": {"score": float(row[4])},
        }
        for row, label in rows
    ]
    faces = [
        {"position": _position(row, shape), "domain": "pixel", "class_id": 3}
        for row in picture.faces
    ]
    return {
        "detections": {"box_data": detections, "class_labels": _CLASSES},
        "ground_truth": {"box_data": faces, "class_labels": _CLASSES},
    }


def wandb_images(pictures: Sequence[MatchedPicture]) -> list[Any]:
    """Pictures of one size, as W&B wants them where several are logged under one name.

    Args:
        pictures: The pictures; smaller ones get black edges at the right and at the bottom.

    Returns:
        One ``wandb.Image`` each, with both layers of boxes.
    """
    import wandb

    height = max((picture.image.shape[0] for picture in pictures), default=0)
    width = max((picture.image.shape[1] for picture in pictures), default=0)
    images = []
    for picture in pictures:
        canvas = np.zeros((height, width, 3), np.uint8)
        canvas[: picture.image.shape[0], : picture.image.shape[1]] = picture.image
        images.append(wandb.Image(canvas, boxes=box_overlays(picture), caption=picture.title))
    return images


def wandb_table(pictures: Sequence[MatchedPicture]) -> Any:  # noqa: ANN401  (of W&B)
    """A table with a row for each picture: boxes, and how many faces were found and missed.

    Args:
        pictures: The pictures.

    Returns:
        A ``wandb.Table``.
    """
    import wandb

    table = wandb.Table(columns=list(_COLUMNS))
    for picture, image in zip(pictures, wandb_images(pictures), strict=True):
        counts = (picture.faces, picture.hits, picture.misses, picture.false_alarms)
        table.add_data(picture.title, image, *map(len, counts))
    return table


def _position(row: NDArray[np.float64], size: tuple[int, int]) -> dict[str, float]:
    """Corners of x, y, width, height within a picture of some width and height."""
    ends = np.clip([row[0], row[0] + row[2]], 0, size[0])
    sides = np.clip([row[1], row[1] + row[3]], 0, size[1])
    return {
        "minX": float(ends[0]),
        "maxX": float(ends[1]),
        "minY": float(sides[0]),
        "maxY": float(sides[1]),
    }
