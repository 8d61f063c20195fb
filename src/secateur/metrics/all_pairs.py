"""Every embedding against every other one, in blocks: 10,000 of them make 50 million pairs.

The scores are never held together. `histogram_all_pairs` counts them in fine bins in one pass;
`roc_all_pairs` is exact and takes two, because a ROC changes its direction only at the scores of
genuine pairs, which are few.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from secateur.errors import InputError
from secateur.metrics.embeddings import Measure, check_measure, inverse_lengths
from secateur.metrics.roc import Roc, ScoreHistogram


def histogram_all_pairs(
    embeddings: Tensor,
    identity: Tensor,
    measure: Measure = "cosine",
    n_bins: int = 65536,
    block: int = 1024,
) -> ScoreHistogram:
    """Count the scores of all pairs of embeddings.

    Args:
        embeddings: ``(N, D)``.
        identity: ``(N,)`` person of each embedding, any integers.
        measure: ``cosine`` or ``euclidean``.
        n_bins: Bins over the whole range of scores: -1..1 for the cosine, minus twice the
            greatest length to 0 for the distance.
        block: Embeddings on either side that are compared at once.

    Returns:
        The histogram of N (N - 1) / 2 pairs.

    Raises:
        InputError: The lengths differ, an embedding is not finite, or the measure is unknown.
    """
    _check(embeddings, identity, measure)
    low, high = -1.0, 1.0
    if measure == "euclidean":
        longest = torch.linalg.vector_norm(embeddings, dim=1, dtype=torch.float32).max()
        low, high = -2.0 * max(float(longest), 1e-12), 0.0
    counts = torch.zeros(2, n_bins, dtype=torch.long, device=embeddings.device)
    for scores, same in _score_blocks(embeddings, identity, measure, block):
        bins = scores.sub_(low).mul_(n_bins / (high - low)).long().clamp_(0, n_bins - 1)
        counts[0] += torch.bincount(bins, minlength=n_bins)
        counts[1] += torch.bincount(bins[same], minlength=n_bins)
    total, genuine = counts.cpu().numpy()
    return ScoreHistogram(np.linspace(low, high, n_bins + 1), genuine, total - genuine)


def roc_all_pairs(
    embeddings: Tensor, identity: Tensor, measure: Measure = "cosine", block: int = 1024
) -> Roc:
    """Compute the exact ROC of all pairs of embeddings.

    Holds the scores of the genuine pairs and one block of scores. Its thresholds are the distinct
    genuine scores and the next greater numbers; between them the curve is a straight line.

    Args:
        embeddings: ``(N, D)``.
        identity: ``(N,)`` person of each embedding, any integers.
        measure: ``cosine`` or ``euclidean``.
        block: Embeddings on either side that are compared at once.

    Returns:
        The ROC of N (N - 1) / 2 pairs.

    Raises:
        InputError: The lengths differ, an embedding is not finite, the measure is unknown, or
            there is no pair of one person or none of different people.
    """
    _check(embeddings, identity, measure)
    parts = [s[same] for s, same in _score_blocks(embeddings, identity, measure, block, True)]
    genuine = np.concatenate([np.empty(0, np.float32), *(part.cpu().numpy() for part in parts)])
    n_pairs = len(embeddings) * (len(embeddings) - 1) // 2
    if not 0 < len(genuine) < n_pairs:
        raise InputError("Verification needs pairs of one person and pairs of different people.")
    # both passes compute the same blocks in the same way, so that equal scores stay equal
    steps, repeats = np.unique(genuine, return_counts=True)
    reached, exceeded = np.zeros((2, len(steps)), dtype=np.int64)
    for scores, same in _score_blocks(embeddings, identity, measure, block):
        impostor = np.sort(scores[~same].cpu().numpy())
        reached += len(impostor) - np.searchsorted(impostor, steps, side="left")
        exceeded += len(impostor) - np.searchsorted(impostor, steps, side="right")
    true_reached = np.cumsum(repeats[::-1])[::-1]
    thresholds = np.repeat(steps.astype(np.float64), 2)
    thresholds[1::2] = np.nextafter(thresholds[1::2], np.inf)
    false_accepts = np.stack([reached, exceeded], axis=1).ravel()
    true_accepts = np.stack([true_reached, true_reached - repeats], axis=1).ravel()
    return Roc(
        np.concatenate([[np.inf], thresholds[::-1], [-np.inf]]),
        np.concatenate([[0], false_accepts[::-1], [n_pairs - len(genuine)]]),
        np.concatenate([[0], true_accepts[::-1], [len(genuine)]]),
    )


def _score_blocks(
    embeddings: Tensor, identity: Tensor, measure: Measure, block: int, genuine_only: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give scores and whether they are of one person, each pair once; skip blocks without one."""
    embeddings, identity = embeddings.detach(), identity.to(embeddings.device)
    inverse_norms = inverse_lengths(embeddings) if measure == "cosine" else None
    for top in range(0, len(embeddings), block):
        rows = slice(top, top + block)
        for left in range(top, len(embeddings), block):
            columns = slice(left, left + block)
            same = identity[rows, None] == identity[None, columns]
            if genuine_only and not bool(same.any()):
                continue
            a, b = embeddings[rows].float(), embeddings[columns].float()
            if inverse_norms is None:
                scores = torch.cdist(a, b).neg_()
            else:
                scores = a.mul(inverse_norms[rows, None]) @ b.mul(inverse_norms[columns, None]).T
            if top == left:
                above = torch.ones_like(same).triu(1)
                yield scores[above], same[above]
            else:
                yield scores.flatten(), same.flatten()


def _check(embeddings: Tensor, identity: Tensor, measure: str) -> None:
    check_measure(measure)
    if embeddings.ndim != 2 or identity.shape != embeddings.shape[:1]:
        raise InputError(
            f"Each embedding needs one identity, got shapes {tuple(embeddings.shape)} and "
            f"{tuple(identity.shape)}."
        )
    if len(embeddings) < 2:
        raise InputError("At least two embeddings are needed to compare them.")
    if not bool(torch.isfinite(embeddings).all()):
        raise InputError("An embedding is not finite: has the network diverged?")
