"""The evaluation protocol of WIDER FACE: average precision per setting, as plain functions.

Yang et al., "WIDER FACE: A Face Detection Benchmark" (2016), in the form of the official
evaluation toolkit: predictions are matched with faces (see `face_matching`), scores are normalised
over all pictures, and precision and recall at 1000 thresholds give the average precision. Which
predictions count does not depend on the threshold, so the thresholds are one histogram.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secateur.errors import InputError
from secateur.metrics.face_matching import (
    Bools,
    Floats,
    Ints,
    best_faces,
    check_table,
    first_claims,
    proposals_and_hits,
)

_T = TypeVar("_T", bound=np.generic)

SETTINGS = ("easy", "medium", "hard", "unlisted")
"""Names of the settings; ``unlisted`` holds pictures that the official lists do not know."""

N_THRESHOLDS = 1000

# 1 - t / 1000 for t = 1000 ... 1, ascending for searchsorted; computed exactly as the toolkit does
_THRESHOLDS: Floats = 1.0 - np.arange(N_THRESHOLDS, 0, -1, dtype=np.float64) / N_THRESHOLDS
# what the toolkit starts its search for the highest score with: realmin('single')
_LOWEST_HIGHEST_SCORE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class SettingResult:
    """Curve and average precision of one setting.

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


def normalize_scores(scores: Floats) -> Floats:
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


def evaluate_wider_face(
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
    rows = [
        check_table(predictions.get(name, nothing), 5, f"predictions of {name}") for name in names
    ]
    boxes = [check_table(faces[name], 4, f"faces of {name}") for name in names]
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
        proposals, hits = proposals_and_hits(claimed[used], first[used], mask[None])
        counts = _tally(
            normalize_scores(scores[used]), proposals[0], hits[0], event[picture[used]], len(events)
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
