"""The ROC of face verification, and the figures that are read from it.

A pair is accepted when its score reaches the threshold. The false accept rate (FAR) is the
accepted share of the pairs of different people, the true accept rate (TAR) that of the pairs of
one person, and the false reject rate (FRR) is 1 - TAR. Scores are higher for faces more alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secateur.errors import InputError

Floats = NDArray[np.float64]

Bools = NDArray[np.bool_]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Roc:
    """Receiver operating characteristic: numbers of pairs that each threshold accepts.

    Attributes:
        thresholds: ``(T,)`` falling; the first is infinite and accepts nothing, the last accepts
            every pair.
        false_accepts: ``(T,)`` accepted pairs of different people.
        true_accepts: ``(T,)`` accepted pairs of one person.
    """

    thresholds: Floats
    false_accepts: Ints
    true_accepts: Ints

    @property
    def n_impostor(self) -> int:
        """Number of pairs of different people."""
        return int(self.false_accepts[-1])

    @property
    def n_genuine(self) -> int:
        """Number of pairs of one person."""
        return int(self.true_accepts[-1])

    @property
    def far(self) -> Floats:
        """``(T,)`` false accept rates, 0..1, not falling."""
        return self.false_accepts / self.n_impostor

    @property
    def tar(self) -> Floats:
        """``(T,)`` true accept rates, 0..1, not falling."""
        return self.true_accepts / self.n_genuine

    @property
    def frr(self) -> Floats:
        """``(T,)`` false reject rates, 0..1, not rising."""
        return (self.n_genuine - self.true_accepts) / self.n_genuine


def roc_of_scores(scores: ArrayLike, same: ArrayLike) -> Roc:
    """Compute the exact ROC of pairs; equal scores are accepted together.

    Args:
        scores: ``(P,)`` scores, higher for faces more alike.
        same: ``(P,)`` True where both faces are of one person.

    Returns:
        The ROC, with one threshold for each distinct score.

    Raises:
        InputError: A score is not finite, the lengths differ, or there is no pair of one person
            or none of different people.
    """
    values, labels = check_pairs(scores, same)
    _check_kinds(int(labels.sum()), int((~labels).sum()))
    order = np.argsort(values)[::-1]
    values, labels = values[order], labels[order]
    last_of_equals = np.append(values[1:] != values[:-1], True)
    true_accepts = np.cumsum(labels)[last_of_equals]
    accepts = np.flatnonzero(last_of_equals) + 1
    return _from_cumulative(values[last_of_equals], accepts - true_accepts, true_accepts)


def roc_of_counts(thresholds: ArrayLike, genuine: ArrayLike, impostor: ArrayLike) -> Roc:
    """Compute the ROC of pairs that were counted in bins; those of a bin are accepted together.

    Args:
        thresholds: ``(B,)`` lowest score of each bin, rising.
        genuine: ``(B,)`` pairs of one person in each bin.
        impostor: ``(B,)`` pairs of different people in each bin.

    Returns:
        The ROC, with one threshold for each bin.

    Raises:
        InputError: There is no pair of one person or none of different people.
    """
    _check_kinds(int(np.sum(genuine)), int(np.sum(impostor)))
    true_accepts = np.cumsum(np.asarray(genuine, dtype=np.int64)[::-1])
    false_accepts = np.cumsum(np.asarray(impostor, dtype=np.int64)[::-1])
    return _from_cumulative(np.asarray(thresholds)[::-1], false_accepts, true_accepts)


def area_under_curve(roc: Roc) -> float:
    """Compute the area under the ROC by trapezoids: equal scores count for one half.

    Args:
        roc: The ROC.

    Returns:
        The probability that a pair of one person scores higher than one of different people.
    """
    doubled = np.sum(np.diff(roc.false_accepts) * (roc.true_accepts[1:] + roc.true_accepts[:-1]))
    return float(doubled / (2 * roc.n_impostor * roc.n_genuine))


def equal_error(roc: Roc) -> tuple[float, float]:
    """Find where the false accept rate equals the false reject rate.

    The points of the ROC are joined by straight lines, as for the area under it, and the rate is
    read where these cross the line FAR = FRR. The result does not depend on how many thresholds
    describe one and the same curve.

    Args:
        roc: The ROC.

    Returns:
        The equal error rate, 0..1, and the highest threshold at which FAR is not below FRR.
    """
    far, excess = roc.far, roc.far - roc.frr
    after = int(np.argmax(excess >= 0))
    before = after - 1  # there is one: the first threshold accepts nothing, so its excess is -1
    share = -excess[before] / (excess[after] - excess[before])
    rate = far[before] + share * (far[after] - far[before])
    return float(rate), float(roc.thresholds[after])


def tar_at_far(roc: Roc, far: float) -> float | None:
    """Read the highest true accept rate whose false accept rate does not exceed a bound.

    Nothing is interpolated: the rate belongs to a threshold.

    Args:
        roc: The ROC.
        far: The bound, above 0 and at most 1.

    Returns:
        The true accept rate, 0..1; None when there are fewer than 1 / far pairs of different
        people, so that the bound would allow no false accept at all.

    Raises:
        ValueError: The bound is out of range.
    """
    row = _row_at_far(roc, far)
    return None if row is None else float(roc.true_accepts[row] / roc.n_genuine)


def threshold_at_far(roc: Roc, far: float) -> float | None:
    """Find the lowest threshold that accepts no more pairs of different people than a bound.

    Args:
        roc: The ROC.
        far: The bound, above 0 and at most 1.

    Returns:
        The threshold of `tar_at_far`: a pair that reaches it is accepted; None as there.

    Raises:
        ValueError: The bound is out of range.
    """
    row = _row_at_far(roc, far)
    return None if row is None else float(roc.thresholds[row])


def _row_at_far(roc: Roc, far: float) -> int | None:
    """The last row within a bound on the false accept rate; None for too few pairs."""
    if not 0 < far <= 1:
        raise ValueError(f"far must be above 0 and at most 1, got {far}")
    # the decimal number that was written, not the binary one beside it: 1e-6 of 3,000,000 is 3
    allowed = math.floor(Fraction(str(far)) * roc.n_impostor)
    if allowed < 1:
        return None
    return int(np.searchsorted(roc.false_accepts, allowed, side="right")) - 1


def pairs_needed(far: float) -> int:
    """Tell how many pairs of different people `tar_at_far` needs.

    Args:
        far: The bound on the false accept rate, above 0 and at most 1.

    Returns:
        The least number of pairs of different people of which the bound allows one to pass.
    """
    return math.ceil(1 / Fraction(str(far)))


def check_pairs(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, Bools]:
    """Check the scores of pairs.

    Args:
        scores: ``(P,)`` scores.
        same: ``(P,)`` True where both faces are of one person.

    Returns:
        Both as arrays; the scores keep their precision.

    Raises:
        InputError: A score is not finite, or the lengths differ.
    """
    values, labels = np.asarray(scores), np.asarray(same, dtype=np.bool_)
    if values.ndim != 1 or values.shape != labels.shape:
        raise InputError(
            f"Each pair needs one score and one label, got shapes {values.shape} and "
            f"{labels.shape}."
        )
    if not np.isfinite(values).all():
        pair = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(f"The score of pair {pair} is not finite: has the network diverged?")
    return values, labels


def _check_kinds(n_genuine: int, n_impostor: int) -> None:
    """Refuse pairs that are all of one kind."""
    if not n_genuine or not n_impostor:
        raise InputError(
            "Verification needs pairs of one person and pairs of different people, "
            f"got {n_genuine} and {n_impostor}."
        )


def _from_cumulative(thresholds: Floats, false_accepts: Ints, true_accepts: Ints) -> Roc:
    """Put the threshold that accepts nothing before the others."""
    return Roc(
        np.concatenate([[np.inf], thresholds]),
        np.concatenate([[0], false_accepts]),
        np.concatenate([[0], true_accepts]),
    )


@dataclass(frozen=True, slots=True)
class ScoreHistogram:
    """Counts of scores.

    Attributes:
        edges: ``(B + 1,)`` rising borders of the bins.
        genuine: ``(B,)`` pairs of one person in each bin.
        impostor: ``(B,)`` pairs of different people in each bin.
    """

    edges: Floats
    genuine: Ints
    impostor: Ints

    def roc(self) -> Roc:
        """Return the ROC at the borders of the bins.

        Each of its points is exact up to the rounding of a score at a border; between them the
        scores of a bin count as equal, so the area and the equal error rate are off by at most
        what the bins hold, and TAR at FAR is a lower bound.
        """
        return roc_of_counts(self.edges[:-1], self.genuine, self.impostor)

    def coarsened(self, n_bins: int) -> ScoreHistogram:
        """Merge neighbouring bins between the lowest and the highest score.

        Args:
            n_bins: Number of bins wanted; there are at most so many, all of one width but for
                the last.

        Returns:
            A histogram of the same pairs for a plot.
        """
        filled = np.flatnonzero(self.genuine + self.impostor)
        if not len(filled):
            return self
        low, high = int(filled[0]), int(filled[-1]) + 1
        starts = np.arange(low, high, -(-(high - low) // n_bins))
        return ScoreHistogram(
            np.append(self.edges[starts], self.edges[high]),
            np.add.reduceat(self.genuine[:high], starts),
            np.add.reduceat(self.impostor[:high], starts),
        )


def histogram_of_scores(scores: ArrayLike, same: ArrayLike, n_bins: int = 100) -> ScoreHistogram:
    """Count the scores of pairs.

    Args:
        scores: ``(P,)`` scores.
        same: ``(P,)`` True where both faces are of one person.
        n_bins: Number of bins between the lowest and the highest score.

    Returns:
        The histogram.

    Raises:
        InputError: A score is not finite, or the lengths differ.
    """
    values, labels = check_pairs(scores, same)
    edges = np.histogram_bin_edges(values.astype(np.float64), n_bins)
    genuine, impostor = (np.histogram(values[part], edges)[0] for part in (labels, ~labels))
    return ScoreHistogram(edges, genuine, impostor)
