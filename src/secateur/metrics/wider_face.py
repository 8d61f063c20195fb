"""The evaluation protocol of WIDER FACE: average precision per setting, as plain functions.

Yang et al., "WIDER FACE: A Face Detection Benchmark" (2016), in the form of the official
evaluation toolkit: predictions are matched in descending order of score, each one looks only at
the face it overlaps most, overlaps count border pixels twice (the +1 convention), faces that a
setting does not list are ignored, and 1000 thresholds on the normalised score give the curve.

Everything is an array: boxes are ``x, y, width, height`` in pixels, and which prediction claims
which face does not depend on the setting, so all settings share one matching.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secateur.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
_T = TypeVar("_T", bound=np.generic)

SETTINGS = ("easy", "medium", "hard", "unlisted")
"""Names of the settings; ``unlisted`` holds pictures that the official lists do not know."""

IOU_THRESHOLD = 0.5
N_THRESHOLDS = 1000

# 1 - t / 1000 for t = 1000 ... 1, ascending for searchsorted; computed exactly as the toolkit does
_THRESHOLDS: Floats = 1.0 - np.arange(N_THRESHOLDS, 0, -1, dtype=np.float64) / N_THRESHOLDS
# what the toolkit starts its search for the highest score with: realmin('single')
_LOWEST_HIGHEST_SCORE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class SettingResult:
    """What one setting gives.

    Attributes:
        ap: Average precision, 0..1.
        curve: ``(1000, 2)`` precision and recall at falling thresholds; NaN precision where
            nothing reaches the threshold.
        n_faces: Number of evaluated faces.
        n_pictures: Number of pictures that take part.
        event_ap: Average precision of each event that has an evaluated face.
    """

    ap: float
    curve: Floats
    n_faces: int
    n_pictures: int
    event_ap: dict[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        settings: One result for each setting with at least one evaluated face.
        n_predictions: Number of predictions on the pictures of the ground truth.
        missing: Pictures of the ground truth without an entry among the predictions; they count
            as pictures in which nothing was found.
        unknown: Predicted pictures that the ground truth does not know; they are left out.
    """

    settings: dict[str, SettingResult]
    n_predictions: int
    missing: tuple[str, ...]
    unknown: tuple[str, ...]


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
    rows = _table(predictions, 5, "predictions")
    boxes = _table(faces, 4, "faces")
    masks = np.asarray(evaluated, dtype=np.bool_)
    if masks.ndim != 2 or masks.shape[1] != len(boxes):
        raise InputError(
            f"evaluated must have shape (settings, {len(boxes)}) for {len(boxes)} faces, "
            f"got {masks.shape}."
        )
    claimed = best_faces(rows[:, :4], boxes)
    first = first_claims(claimed, rows[:, 4])
    return _judge(claimed, first, masks)


def normalise_scores(scores: Floats) -> Floats:
    """Map all scores of a detector linearly to 0..1, lowest to 0 and highest to 1.

    When all scores are equal, the toolkit divides zero by zero; here they all become 1.
    """
    if scores.size == 0:
        return scores
    lowest = scores.min()
    highest = max(scores.max(), _LOWEST_HIGHEST_SCORE)
    if highest == lowest:
        return np.ones_like(scores)
    return np.asarray((scores - lowest) / (highest - lowest))


def precision_recall(scores: Floats, proposals: Bools, hits: Bools, n_faces: int) -> Floats:
    """Compute precision and recall at the thousand thresholds 1 - t / 1000.

    Args:
        scores: ``(P,)`` normalised scores of all predictions of all pictures.
        proposals: ``(P,)`` True where a prediction counts.
        hits: ``(P,)`` True where a prediction finds a face.
        n_faces: Number of evaluated faces, at least 1.

    Returns:
        ``(1000, 2)`` precision and recall; precision is NaN where there is no proposal.
    """
    return _curve(_tally(scores, proposals, hits)[:, 0], n_faces)


def average_precision(precision: Floats, recall: Floats) -> float:
    """Compute the area under the precision envelope (VOC 2010 and later).

    Args:
        precision: ``(T,)`` precision at falling thresholds; NaN is passed over.
        recall: ``(T,)`` recall, not falling.

    Returns:
        The average precision, 0..1.
    """
    envelope = np.concatenate([precision, [0.0]])
    envelope = np.fmax.accumulate(envelope[::-1])[::-1][:-1]
    steps = np.diff(recall, prepend=0.0)
    gained = steps != 0
    return float(np.sum(steps[gained] * envelope[gained]))


def evaluate(
    predictions: Mapping[str, ArrayLike],
    faces: Mapping[str, ArrayLike],
    evaluated: Mapping[str, Mapping[str, ArrayLike]],
    settings: Sequence[str] = SETTINGS,
) -> Evaluation:
    """Score predictions on a set of pictures.

    Args:
        predictions: ``(P, 5)`` x, y, width, height, score for each picture, in any order. Names
            are ``event/file``.
        faces: ``(G, 4)`` x, y, width, height of all faces of each picture.
        evaluated: For each picture, the settings it takes part in, each with a ``(G,)`` mask
            that is True for the faces it evaluates. A picture contributes nothing, no false
            alarm either, to a setting that is absent here.
        settings: The settings to compute; one without an evaluated face is left out.

    Returns:
        Average precision and curves per setting.

    Raises:
        InputError: A shape does not fit, a number is not finite, or no prediction belongs to the
            ground truth.
    """
    names = list(faces)
    unknown = tuple(sorted(set(predictions) - set(faces)))
    missing = tuple(name for name in names if name not in predictions)
    if predictions and len(unknown) == len(predictions):
        raise InputError(
            f"None of the {len(predictions)} predicted pictures belongs to the ground truth: "
            f"'{unknown[0]}' for instance does not; give pictures as event/file.jpg."
        )

    nothing = np.empty((0, 5))
    rows = [_table(predictions.get(name, nothing), 5, f"predictions of {name}") for name in names]
    boxes = [_table(faces[name], 4, f"faces of {name}") for name in names]
    claimed, scores, picture = _match(rows, boxes)
    first = first_claims(claimed, scores, picture)
    events, event = np.unique([name.rpartition("/")[0] for name in names], return_inverse=True)
    event_of_face = np.repeat(event, [len(b) for b in boxes])

    results: dict[str, SettingResult] = {}
    for setting in settings:
        part = np.array([setting in evaluated[name] for name in names], dtype=np.bool_)
        mask = _stack(
            [_mask(evaluated[n], setting, n, len(b)) for n, b in zip(names, boxes, strict=True)],
            np.bool_,
        )
        if not mask.any():
            continue
        used = part[picture]
        proposals, hits = _judge(claimed[used], first[used], mask[None])
        counts = _tally(
            normalise_scores(scores[used]), proposals[0], hits[0], event[picture[used]], len(events)
        )
        curve = _curve(counts.sum(axis=1), int(mask.sum()))
        event_faces = np.bincount(event_of_face[mask], minlength=len(events))
        event_ap = {
            str(events[i]): average_precision(*_curve(counts[:, i], int(event_faces[i])).T)
            for i in np.flatnonzero(event_faces)
        }
        results[setting] = SettingResult(
            average_precision(*curve.T), curve, int(mask.sum()), int(part.sum()), event_ap
        )
    return Evaluation(results, len(scores), missing, unknown)


def _match(rows: Sequence[Floats], boxes: Sequence[Floats]) -> tuple[Ints, Floats, Ints]:
    """Find the best face of every prediction, with faces numbered over all pictures."""
    claimed, start = [], 0
    for predictions, faces in zip(rows, boxes, strict=True):
        best = best_faces(predictions[:, :4], faces)
        claimed.append(np.where(best >= 0, best + start, -1))
        start += len(faces)
    scores = _stack([r[:, 4] for r in rows], np.float64)
    picture = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    return _stack(claimed, np.int64), scores, picture


def _judge(claimed: Ints, first: Bools, masks: Bools) -> tuple[Bools, Bools]:
    """Turn claims into proposals and hits, both ``(S, P)``, under masks ``(S, G)``."""
    claims = claimed >= 0
    listed = np.zeros((len(masks), len(claimed)), dtype=np.bool_)
    listed[:, claims] = masks[:, claimed[claims]]
    return listed | ~claims, listed & first


def _tally(
    scores: Floats, proposals: Bools, hits: Bools, group: Ints | None = None, n_groups: int = 1
) -> Ints:
    """Count proposals and hits that reach each threshold, ``(2, groups, 1000)``."""
    # the first threshold that each score reaches; N_THRESHOLDS for none
    cell = N_THRESHOLDS - np.searchsorted(_THRESHOLDS, scores, side="right")
    if group is not None:
        cell += group * (N_THRESHOLDS + 1)
    size = n_groups * (N_THRESHOLDS + 1)
    counts = np.stack([np.bincount(cell[flags], minlength=size) for flags in (proposals, hits)])
    return np.asarray(counts.reshape(2, n_groups, -1)[..., :N_THRESHOLDS].cumsum(axis=-1))


def _curve(counts: Ints, n_faces: int) -> Floats:
    """Turn ``(2, 1000)`` proposals and hits into ``(1000, 2)`` precision and recall."""
    proposals, hits = counts
    with np.errstate(invalid="ignore"):
        return np.stack([hits / proposals, hits / n_faces], axis=1)


def _stack(arrays: Sequence[NDArray[_T]], dtype: type[_T]) -> NDArray[_T]:
    """Concatenate arrays, of which there may be none."""
    return np.concatenate([np.empty(0, dtype), *arrays])


def _table(values: ArrayLike, n_columns: int, what: str) -> Floats:
    """Check an array of finite numbers with so many columns."""
    table = np.asarray(values, dtype=np.float64)
    if table.size == 0:
        return np.empty((0, n_columns))
    if table.ndim != 2 or table.shape[1] != n_columns:
        raise InputError(f"The {what} must have shape (N, {n_columns}), got {table.shape}.")
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise InputError(f"The {what} hold a number that is not finite in row {row}.")
    return table


def _mask(masks: Mapping[str, ArrayLike], setting: str, name: str, n_faces: int) -> Bools:
    """Read the mask of one picture, all False where it takes no part in the setting."""
    if setting not in masks:
        return np.zeros(n_faces, dtype=np.bool_)
    mask = np.asarray(masks[setting], dtype=np.bool_)
    if mask.shape != (n_faces,):
        raise InputError(
            f"The mask of setting {setting} for {name} must have shape ({n_faces},), "
            f"got {mask.shape}."
        )
    return mask
