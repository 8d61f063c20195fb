"""How the scores of genuine and impostor pairs are spread, in bins of equal width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from secateur.metrics.roc import Floats, Ints, Roc, check_pairs, roc_of_counts


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
