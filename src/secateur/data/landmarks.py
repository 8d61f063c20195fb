"""Five landmarks of faces: how they are laid out, moved, clipped and mirrored.

The order is right eye, left eye, nose tip, right and left corner of the mouth, of the person: the
first eye is the left one in the picture. A row of 19 numbers is a face: four corners, then x, y and
weight of each landmark; the weight is 0 where a landmark is not annotated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

COUNT = 5
COLUMNS = 4 + 3 * COUNT
MIRRORED_ORDER = (1, 0, 2, 4, 3)
_X, _Y = slice(4, COLUMNS, 3), slice(5, COLUMNS, 3)

Faces = NDArray[np.float64]


def join_landmarks(corners: NDArray[np.floating], landmarks: NDArray[np.floating] | None) -> Faces:
    """Put corners (G, 4) and landmarks (G, 5, 3) into rows (G, 19); without landmarks (G, 4)."""
    faces: Faces = np.asarray(corners, dtype=np.float64)
    if landmarks is None:
        return faces
    points = np.reshape(np.asarray(landmarks, np.float64), (len(faces), 3 * COUNT))
    rows: Faces = np.concatenate([faces, points], axis=1)
    return rows


def move_faces(
    faces: Faces, offset: Sequence[float] | Faces, scale: Sequence[float] | Faces
) -> Faces:
    """Shift faces, then scale them; weights stay.

    Args:
        faces: (G, 4) or (G, 19).
        offset: Added to x and y.
        scale: What x and y are multiplied by afterwards.

    Returns:
        New rows.
    """
    moved = faces.copy()
    moved[:, 0:4] = (faces[:, 0:4] + np.tile(offset, 2)) * np.tile(scale, 2)
    moved[:, _X] = (faces[:, _X] + offset[0]) * scale[0]
    moved[:, _Y] = (faces[:, _Y] + offset[1]) * scale[1]
    return moved


def clip_landmarks(faces: Faces) -> Faces:
    """Move landmarks beyond 0..1 to the border; weights stay, as published."""
    clipped = faces.copy()
    clipped[:, _X] = faces[:, _X].clip(0, 1)
    clipped[:, _Y] = faces[:, _Y].clip(0, 1)
    return clipped


def flip_faces(faces: Faces) -> Faces:
    """Mirror faces in 0..1: left and right change their places, and so do eyes and mouth corners.

    Examples:
        >>> flip_faces(np.array([[0.1, 0.2, 0.4, 0.6]])).round(1).tolist()
        [[0.6, 0.2, 0.9, 0.6]]
    """
    flipped = faces.copy()
    flipped[:, 0], flipped[:, 2] = 1 - faces[:, 2], 1 - faces[:, 0]
    if faces.shape[1] == COLUMNS:
        points = faces[:, 4:].reshape(-1, COUNT, 3)[:, MIRRORED_ORDER, :]
        points[..., 0] = 1 - points[..., 0]
        flipped[:, 4:] = points.reshape(-1, 3 * COUNT)
    return flipped
