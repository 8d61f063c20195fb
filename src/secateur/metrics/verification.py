"""Figures of face verification: accuracy by folds, EER, AUC, and TAR at FAR 1e-1 to 1e-6."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from secateur.errors import InputError
from secateur.metrics.roc import (
    Bools,
    Floats,
    Ints,
    Roc,
    area_under_curve,
    check_pairs,
    equal_error,
    pairs_needed,
    roc_of_scores,
    tar_at_far,
    threshold_at_far,
)

FALSE_ACCEPT_RATES = ("1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6")

"""Bounds on the false accept rate at which the true accept rate is reported."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Figures of embeddings on a set of pairs.

    Attributes:
        roc: The ROC of all pairs.
        eer: Equal error rate, 0..1.
        eer_threshold: Threshold of the equal error rate.
        auc: Area under the ROC, 0..1.
        tar_at_far: True accept rate for each bound of `FALSE_ACCEPT_RATES` that the number of
            pairs supports.
        accuracy: Accuracy by folds, where the pairs come in at least two.
        unsupported: For each figure that the pairs cannot support, under its name in `record`,
            one sentence why.
    """

    roc: Roc
    eer: float
    eer_threshold: float
    auc: float
    tar_at_far: dict[str, float]
    accuracy: FoldAccuracy | None
    unsupported: dict[str, str]

    def thresholds(self) -> dict[str, float]:
        """Return the threshold of each rate of ``tar_at_far``, where it is a finite number."""
        found = {far: threshold_at_far(self.roc, float(far)) for far in self.tar_at_far}
        return {far: t for far, t in found.items() if t is not None and np.isfinite(t)}

    def record(self) -> dict[str, float]:
        """Return the figures by name: ``accuracy``, ``eer``, ``auc``, ``tar_at_far_1e-1`` ...

        A figure that the pairs cannot support is absent.
        """
        figures = {} if self.accuracy is None else {"accuracy": self.accuracy.mean}
        figures |= {"eer": self.eer, "auc": self.auc}
        return figures | {f"tar_at_far_{far}": tar for far, tar in self.tar_at_far.items()}


def verify(scores: ArrayLike, same: ArrayLike, fold: ArrayLike | None = None) -> Verification:
    """Judge the scores of pairs.

    Args:
        scores: ``(P,)`` scores, higher for faces more alike.
        same: ``(P,)`` True where both faces are of one person.
        fold: ``(P,)`` fold of each pair for the accuracy; without it there is none.

    Returns:
        All figures.

    Raises:
        InputError: A score is not finite, the lengths differ, or there is no pair of one person
            or none of different people.
    """
    roc = roc_of_scores(scores, same)
    folds = None if fold is None or len(np.unique(fold)) < 2 else fold
    return verification_of_roc(roc, None if folds is None else fold_accuracy(scores, same, folds))


def verification_of_roc(roc: Roc, accuracy: FoldAccuracy | None = None) -> Verification:
    """Read all figures from a ROC.

    Args:
        roc: The ROC of all pairs.
        accuracy: Accuracy by folds, if known.

    Returns:
        All figures.
    """
    unsupported = {}
    if accuracy is None:
        unsupported["accuracy"] = "Accuracy by folds needs at least two folds of pairs."
    rates = {}
    for far in FALSE_ACCEPT_RATES:
        tar = tar_at_far(roc, float(far))
        if tar is None:
            unsupported[f"tar_at_far_{far}"] = (
                f"Too few pairs: FAR {far} needs {pairs_needed(float(far)):,} pairs of different "
                f"people, there are {roc.n_impostor:,}."
            )
        else:
            rates[far] = tar
    eer, threshold = equal_error(roc)
    return Verification(roc, eer, threshold, area_under_curve(roc), rates, accuracy, unsupported)


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Accuracy of each fold.

    Attributes:
        folds: ``(F,)`` labels of the folds, rising.
        accuracies: ``(F,)`` share of the pairs of each fold that are classified correctly, 0..1.
        thresholds: ``(F,)`` threshold of each fold, chosen on the others; a pair that reaches it
            counts as of one person.
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
    """Find the threshold that classifies the most pairs correctly.

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
