"""Which prediction finds which face, by the rules of the WIDER FACE evaluation.

Predictions are taken in descending order of score; each looks only at the face it overlaps most,
with an IoU of at least 0.5; the first to claim a face finds it, the others are false alarms; one
that claims a face which a setting does not evaluate counts for nothing there. Boxes are ``x, y,
width, height`` in pixels and overlaps count border pixels twice (the +1 convention).

Which prediction claims which face does not depend on the setting, so all settings share it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secateur.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

IOU_THRESHOLD = 0.5


def match_picture(
    predictions: ArrayLike, faces: ArrayLike, evaluated: ArrayLike
) -> tuple[Bools, Bools]:
    """Judge the predictions of one picture under several settings.

    Args:
        predictions: ``(P, 5)`` x, y, width, height, score in any order.
        faces: ``(G, 4)`` x, y, width, height of all faces.
        evaluated: ``(S, G)`` True where a setting evaluates a face; the others are ignored.

    Returns:
        ``(S, P)`` True where a prediction counts as a proposal, and ``(S, P)`` True where it
        finds a face. A proposal that finds none is a false alarm; a prediction whose best face is
        ignored is neither.

    Raises:
        InputError: A shape does not fit, or a number is not finite.
    """
    rows = check_table(predictions, 5, "predictions")
    boxes = check_table(faces, 4, "faces")
    masks = np.asarray(evaluated, dtype=np.bool_)
    if masks.ndim != 2 or masks.shape[1] != len(boxes):
        raise InputError(
            f"evaluated must have shape (settings, {len(boxes)}) for {len(boxes)} faces, "
            f"got {masks.shape}."
        )
    claimed = best_faces(rows[:, :4], boxes)
    first = first_claims(claimed, rows[:, 4])
    return proposals_and_hits(claimed, first, masks)


def best_faces(boxes: Floats, faces: Floats) -> Ints:
    """Find the face that each box overlaps most, if it overlaps it enough.

    Args:
        boxes: ``(P, 4)`` x, y, width, height.
        faces: ``(G, 4)`` x, y, width, height.

    Returns:
        ``(P,)`` index of the face with the highest IoU, the first of equals; -1 where the highest
        IoU is below 0.5. A box of width w is w + 1 wide, as in the toolkit.
    """
    if len(faces) == 0 or len(boxes) == 0:
        return np.full(len(boxes), -1, dtype=np.int64)
    x, y, width, height = (boxes[:, i, None] for i in range(4))
    face_x, face_y, face_width, face_height = faces.T
    shared = np.minimum(x + width, face_x + face_width) - np.maximum(x, face_x) + 1
    np.maximum(shared, 0, out=shared)
    shared_height = np.minimum(y + height, face_y + face_height) - np.maximum(y, face_y) + 1
    np.maximum(shared_height, 0, out=shared_height)
    shared *= shared_height
    # the toolkit subtracts corners again, which rounds differently from using the width itself
    area = ((x + width) - x + 1) * ((y + height) - y + 1)
    face_area = ((face_x + face_width) - face_x + 1) * ((face_y + face_height) - face_y + 1)
    union = area + face_area - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    best = iou.argmax(axis=1)
    return np.where(iou[np.arange(len(best)), best] >= IOU_THRESHOLD, best, -1)


def first_claims(claimed: Ints, scores: Floats, picture: Ints | None = None) -> Bools:
    """Mark the predictions that claim their face before any other one does.

    Args:
        claimed: ``(P,)`` face that each prediction overlaps most, -1 for none; a face has one
            number over all pictures.
        scores: ``(P,)`` scores; of equal scores the earlier prediction comes first.
        picture: ``(P,)`` picture of each prediction; all are of one picture when absent.

    Returns:
        ``(P,)`` True where the prediction has the highest score of those that claim its face.
    """
    order = (
        np.argsort(-scores, kind="stable") if picture is None else np.lexsort((-scores, picture))
    )
    order = order[claimed[order] >= 0]
    _, first = np.unique(claimed[order], return_index=True)
    claims = np.zeros(len(claimed), dtype=np.bool_)
    claims[order[first]] = True
    return claims


def proposals_and_hits(claimed: Ints, first: Bools, masks: Bools) -> tuple[Bools, Bools]:
    """Turn claims into verdicts under several settings.

    Args:
        claimed: ``(P,)`` face that each prediction overlaps most, -1 for none.
        first: ``(P,)`` True where a prediction is the first to claim its face.
        masks: ``(S, G)`` True where a setting evaluates a face.

    Returns:
        Proposals and hits, both ``(S, P)``, as of `match_picture`.
    """
    claims = claimed >= 0
    listed = np.zeros((len(masks), len(claimed)), dtype=np.bool_)
    listed[:, claims] = masks[:, claimed[claims]]
    return listed | ~claims, listed & first


def check_table(values: ArrayLike, n_columns: int, what: str) -> Floats:
    """Make an array of finite numbers with the given number of columns.

    Args:
        values: ``(N, n_columns)``; anything empty will do for no rows.
        n_columns: How many columns it must have.
        what: What the rows are, for the message.

    Returns:
        ``(N, n_columns)``.

    Raises:
        InputError: The shape does not fit, or a number is not finite.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.size == 0:
        return np.empty((0, n_columns))
    if table.ndim != 2 or table.shape[1] != n_columns:
        raise InputError(f"The {what} must have shape (N, {n_columns}), got {table.shape}.")
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise InputError(f"The {what} hold a number that is not finite in row {row}.")
    return table
