"""A set of drawn pictures in the layout of WIDER FACE, for demonstrations and tests."""

from __future__ import annotations

import functools
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from secateur.data.annotations import Annotation, write_annotations
from secateur.data.ground_truth import OFFICIAL_SETTINGS, GroundTruth, write_ground_truth
from secateur.data.landmark_annotations import write_landmark_annotations
from secateur.data.synthetic.scene import DrawnPicture, draw_picture
from secateur.data.synthetic.stored_set import check_count, write_once
from secateur.data.wider_layout import Split, WiderLayout
from secateur.errors import InputError

EVENT = "0--Drawn_Faces"

_SPLITS: tuple[Split, ...] = ("train", "val")

# Smallest face height in pixels, and smallest visible share, of each list.
_LISTED = {"easy": (50, 0.9), "medium": (30, 0.6), "hard": (10, 0.25)}


def picture_name(index: int) -> str:
    """Name of the picture of that index in its split."""
    return f"{EVENT}/0_Drawn_Faces_{index:05d}.jpg"


def draw_jpeg(seed: int, split: Split, index: int) -> tuple[bytes, DrawnPicture]:
    """The JPEG file and the drawing of one picture, a function of the arguments alone."""
    generator = np.random.default_rng((seed, _SPLITS.index(split), index))
    picture = draw_picture(generator)
    quality = int(generator.integers(75, 96))
    bgr = cv2.cvtColor(picture.image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes(), picture


def write_drawn_set(root: str | Path, n_train: int, n_val: int, seed: int = 0) -> bool:
    """Draw a set once; a later call with the same arguments finds it there.

    The set appears in one step: an interrupted call leaves no half set behind. A set drawn with
    other arguments, or by another version of the drawing code, is replaced.

    Args:
        root: Folder to make, in the layout of WIDER FACE.
        n_train: Training pictures, at least 1.
        n_val: Validation pictures, at least 1.
        seed: Seed of the drawing.

    Returns:
        Whether anything was drawn.

    Raises:
        InputError: If a number is out of range, or the folder holds something else.
    """
    if n_train < 1 or n_val < 1 or seed < 0:
        raise InputError(
            "drawn faces need at least one training and one validation picture and a seed from 0, "
            f"got n_train={n_train}, n_val={n_val}, seed={seed}"
        )
    check_count(n_train + n_val)
    record = {
        "n_train": n_train,
        "n_val": n_val,
        "seed": seed,
        "landmarks": 5,  # sets drawn without them are drawn again
        "fingerprint": zlib.crc32(draw_jpeg(seed, "train", 0)[0]),
    }
    return write_once(root, record, functools.partial(_write, record=record))


def evaluated_faces(
    boxes: NDArray[np.floating], visible: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Which faces count in Easy, Medium and Hard.

    Args:
        boxes: (G, 4) x, y, width, height in pixels.
        visible: (G,) share of each head that nothing hides.

    Returns:
        (3, G).
    """
    rows = [
        (boxes[:, 3] >= smallest) & (visible >= share)
        for smallest, share in (_LISTED[setting] for setting in OFFICIAL_SETTINGS)
    ]
    return np.array(rows, dtype=np.bool_).reshape(len(rows), len(boxes))


def _write(root: Path, record: dict[str, int]) -> None:
    """Write all parts of a set."""
    layout = WiderLayout(root)
    layout.annotation_file("train").parent.mkdir(parents=True)
    for split in _SPLITS:
        annotations: list[Annotation] = []
        sizes: list[tuple[int, int]] = []
        evaluated: dict[str, NDArray[np.bool_]] = {}
        (layout.images(split) / EVENT).mkdir(parents=True)
        for index in range(record[f"n_{split}"]):
            content, picture = draw_jpeg(record["seed"], split, index)
            name = picture_name(index)
            (layout.images(split) / name).write_bytes(content)
            annotations.append(Annotation(name, picture.boxes, picture.landmarks))
            height, width = picture.image.shape[:2]
            sizes.append((height, width))
            evaluated[name] = evaluated_faces(picture.boxes, picture.visible)
        write_annotations(layout.annotation_file(split), annotations)
        layout.landmark_file(split).parent.mkdir(parents=True)
        write_landmark_annotations(layout.landmark_file(split), annotations, sizes)
        if split == "val":
            boxes = {item.name: item.boxes.astype(np.float64) for item in annotations}
            (root / "ground_truth").mkdir()
            write_ground_truth(root / "ground_truth", GroundTruth(boxes, evaluated))
