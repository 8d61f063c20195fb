"""Figures of face verification: accuracy by folds, EER, AUC, and TAR at FAR 1e-1 to 1e-6."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from secateur.metrics.folds import FoldAccuracy, fold_accuracy
from secateur.metrics.roc import (
    Roc,
    area_under_curve,
    equal_error,
    pairs_needed,
    roc_of_scores,
    tar_at_far,
)

FALSE_ACCEPT_RATES = ("1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6")
"""Bounds on the false accept rate at which the true accept rate is reported."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a set of pairs tells about embeddings.

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
    return judge_roc(roc, None if folds is None else fold_accuracy(scores, same, folds))


def judge_roc(roc: Roc, accuracy: FoldAccuracy | None = None) -> Verification:
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
