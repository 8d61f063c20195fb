"""Verification accuracy by folds, as Labeled Faces in the Wild reports it.

Huang et al., "Labeled Faces in the Wild" (2007), View 2: each fold in turn is judged with the
threshold that suits the other folds best; the accuracy is the mean over the folds, with its
standard error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from secateur.errors import InputError
from secateur.metrics.roc import Bools, Floats, Ints, check_pairs


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Accuracy of each fold.

    Attributes:
        folds: ``(F,)`` labels of the folds, rising.
        accuracies: ``(F,)`` share of the pairs of each fold that are judged right, 0..1.
        thresholds: ``(F,)`` threshold of each fold, chosen on the others; a pair that reaches it
            is judged to be of one person.
    """

    folds: Ints
    accuracies: Floats
    thresholds: Floats

    @property
    def mean(self) -> float:
        """Mean accuracy over the folds, 0..1."""
        return float(self.accuracies.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean: the sample deviation divided by the root of the folds."""
        return float(self.accuracies.std(ddof=1) / np.sqrt(len(self.accuracies)))


def fold_accuracy(scores: ArrayLike, same: ArrayLike, fold: ArrayLike) -> FoldAccuracy:
    """Compute the accuracy of each fold with the threshold of the others.

    Every threshold that makes a difference on the other folds is tried: one between each two
    neighbouring scores, half way, and one beyond either end. Of equally good ones the highest is
    taken, the one with the fewest false accepts.

    Args:
        scores: ``(P,)`` scores, higher for faces more alike.
        same: ``(P,)`` True where both faces are of one person.
        fold: ``(P,)`` fold of each pair, any integers.

    Returns:
        Accuracy and threshold of each fold.

    Raises:
        InputError: There are fewer than two folds, the lengths differ, or a score is not finite.
    """
    values, labels = check_pairs(scores, same)
    members = np.asarray(fold)
    if members.shape != values.shape:
        raise InputError(f"{len(values)} pairs need as many fold numbers, got {members.shape}.")
    folds = np.unique(members)
    if len(folds) < 2:
        raise InputError("Accuracy by folds needs at least two folds of pairs.")
    order = np.argsort(values)
    values, labels, members = values[order].astype(np.float64), labels[order], members[order]
    accuracies, thresholds = [], []
    for held_out in folds:
        rest = members != held_out
        threshold = best_threshold(values[rest], labels[rest])
        accepted = values[~rest] >= threshold
        accuracies.append(np.mean(accepted == labels[~rest]))
        thresholds.append(threshold)
    return FoldAccuracy(folds.astype(np.int64), np.array(accuracies), np.array(thresholds))


def best_threshold(scores: Floats, same: Bools) -> float:
    """Find the threshold that judges most pairs right.

    Args:
        scores: ``(P,)`` rising.
        same: ``(P,)`` True where both faces are of one person.

    Returns:
        The threshold, half way between two scores, or infinite where accepting everything or
        nothing is best; the highest of equally good ones.
    """
    rejected_genuine = np.concatenate([[0], np.cumsum(same)])
    rejected = np.arange(len(scores) + 1)
    right = rejected - rejected_genuine + (rejected_genuine[-1] - rejected_genuine)
    padded = np.concatenate([[-np.inf], scores, [np.inf]])
    right[padded[1:] == padded[:-1]] = -1  # no threshold parts equal scores
    cut = len(right) - 1 - int(np.argmax(right[::-1]))
    below, above = padded[cut], padded[cut + 1]
    middle = (below + above) / 2 if np.isfinite(below) and np.isfinite(above) else above
    if not np.isfinite(below):
        return -np.inf
    # neighbouring numbers have none between them, and their mean may be the lower one
    return float(middle if middle > below else above)


def consecutive_folds(n_pairs: int, n_folds: int = 10) -> Ints:
    """Number the folds of a list of pairs that is cut into equal stretches, as of ``.bin`` sets.

    Args:
        n_pairs: Number of pairs.
        n_folds: Number of folds; the first ones take one pair more where it does not divide.

    Returns:
        ``(P,)`` fold of each pair, from 0.

    Raises:
        InputError: There are fewer pairs than folds, or fewer than two folds.
    """
    if not 2 <= n_folds <= n_pairs:
        raise InputError(f"{n_pairs} pairs cannot be cut into {n_folds} folds of verification.")
    sizes = np.full(n_folds, n_pairs // n_folds)
    sizes[: n_pairs % n_folds] += 1
    return np.repeat(np.arange(n_folds), sizes)
