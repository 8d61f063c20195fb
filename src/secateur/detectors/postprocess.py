"""Post-processing: from scores and boxes of a detector to faces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import nms

from secateur.detectors.boxes import pairwise_iou

_FEW = 1000  # candidates that a stable sort orders faster than ``topk`` finds the best of them
_CHUNK = 250  # boxes; its overlaps with 750 others lie in the cache


Decode = Callable[[Tensor], Tensor]
"""Takes indices (B, K) of candidates; gives (B, K, 4) corners, or more columns after them."""


def select_faces(
    scores: Tensor,
    decode: Decode,
    score_threshold: float = 0.05,
    iou_threshold: float = 0.3,
    max_candidates: int = 5000,
    max_faces: int = 750,
) -> list[Tensor]:
    """Threshold, decode and suppress; a batch gives exactly what its images give alone.

    Args:
        scores: (B, N) of the candidates.
        decode: Gives corners, and what else is told of a face, of the candidates that matter.
        score_threshold: Only candidates with a higher score count.
        iou_threshold: A box is dropped if a better one overlaps it by more.
        max_candidates: Boxes that enter non-maximum suppression, the best first.
        max_faces: Boxes that leave it.

    Returns:
        Per image (K, 5): corners as decoded, not clipped, and the score, then the other decoded
        columns, in falling order of the score; of equal scores the first candidate comes first.
    """
    if scores.is_cuda:  # where counting would wait for the device once per image
        faces, counts = select_faces_padded(
            scores, decode, score_threshold, iou_threshold, max_candidates, max_faces
        )
        return [rows[:count] for rows, count in zip(faces, counts.tolist(), strict=True)]
    order, counted = _candidates(scores, score_threshold, max_candidates)
    all_rows = _rows(decode(order), scores.gather(1, order))
    found = []
    for image_rows, count in zip(all_rows.unbind(), counted, strict=True):
        kept = _first_survivors(image_rows[:count], iou_threshold, max_faces)
        found.append(image_rows[kept[:max_faces]])
    return found


def select_faces_padded(
    scores: Tensor,
    decode: Decode,
    score_threshold: float = 0.05,
    iou_threshold: float = 0.3,
    max_candidates: int = 5000,
    max_faces: int = 750,
) -> tuple[Tensor, Tensor]:
    """``select_faces`` with an output of fixed size, for ``torch.export`` and tracing.

    Args:
        scores: As for ``select_faces``, like all that follow.
        decode: See above.
        score_threshold: See above.
        iou_threshold: See above.
        max_candidates: See above.
        max_faces: See above.

    Returns:
        Rows (B, max_faces, 5 or more), zero where there are no more faces, and their numbers (B,).
    """
    order = _best(scores, max_candidates)
    best = scores.gather(1, order)
    rows = _rows(decode(order), best)
    valid = best > score_threshold
    results = [
        _suppress(image_rows, image_valid, iou_threshold, max_faces)
        for image_rows, image_valid in zip(rows.unbind(), valid.unbind(), strict=True)
    ]
    return torch.stack([faces for faces, _ in results]), torch.stack([n for _, n in results])


def _rows(decoded: Tensor, scores: Tensor) -> Tensor:
    """Decoded columns (B, K, 4 or more) with the score (B, K) after the corners."""
    return torch.cat([decoded[..., :4], scores[..., None], decoded[..., 4:]], dim=2)


def _candidates(scores: Tensor, threshold: float, count: int) -> tuple[Tensor, list[int]]:
    """The best candidates of each image; what does not count is neither sorted nor decoded.

    Args:
        scores: (B, N).
        threshold: Only higher scores count.
        count: How many to return at most.

    Returns:
        Indices (B, K), K at least 1, in falling order, of equal scores the first first; and how
        many of each row are candidates, behind which any may stand.
    """
    chosen = []
    for row in scores.detach().cpu().numpy():
        above = np.flatnonzero(row > threshold)
        if len(above) <= _FEW:  # the usual case, for which numpy has a fraction of the overhead
            best = np.argsort(-row[above], kind="stable")[:count]
        else:
            best = _best(torch.from_numpy(row[above])[None], count)[0].numpy()
        chosen.append(torch.from_numpy(above[best]))
    order = chosen[0][None] if len(chosen) == 1 else pad_sequence(chosen, batch_first=True)
    order = order.to(scores.device)
    if not order.shape[1]:
        order = order.new_zeros(len(chosen), 1)
    return order, [len(indices) for indices in chosen]


def _best(scores: Tensor, count: int) -> Tensor:
    """Indices (B, count) of the highest scores (B, N), in falling order, of equal ones the first.

    That is a stable sort cut short, at a quarter of its time: neighbouring float32 values differ
    by 2**-24 of themselves or more, so in float64 there is room to break ties by position.
    """
    position = torch.arange(scores.shape[1], device=scores.device, dtype=torch.float64)
    keys = scores.double() * (1 - position * 2.0**-44)
    return keys.topk(min(count, int(scores.shape[1])), dim=1).indices


def _suppress(
    rows: Tensor, valid: Tensor, iou_threshold: float, max_faces: int
) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression of one image.

    Args:
        rows: (K, 5 or more) boxes, scores and so on, in falling order.
        valid: (K,) bool, True first.
        iou_threshold: See ``select_faces``.
        max_faces: See ``select_faces``.

    Returns:
        Rows (max_faces, 5), padded with zeros, and their number.
    """
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if tracing or torch.compiler.is_compiling() or rows.is_cuda:
        # Rows that are not valid come last, where they suppress nothing that is.
        kept = nms(rows[:, :4], rows[:, 4], iou_threshold)
    else:
        kept = _first_survivors(rows[: int(valid.sum())], iou_threshold, max_faces)
    # an integer, because tracing knows no scatter of a truth value
    survives = torch.zeros_like(valid, dtype=torch.long).scatter(0, kept, 1).bool() & valid
    rank = survives.cumsum(0)
    # One spare row takes all that is not returned, so that no shape depends on the data.
    slot = torch.where(survives & (rank <= max_faces), rank - 1, max_faces)
    faces = rows.new_zeros(max_faces + 1, rows.shape[1]).index_copy(0, slot, rows)
    return faces[:max_faces], survives.sum().clamp(max=max_faces)


def _first_survivors(rows: Tensor, iou_threshold: float, max_faces: int) -> Tensor:
    """Indices of the rows that survive, at least the first ``max_faces`` of them.

    Suppression of a row depends on better rows alone, so it may go chunk by chunk and end when
    there are enough: what survived so far suppresses the next chunk all at once, and what is left
    of that is suppressed among itself.
    """
    boxes, scores = rows[:, :4].contiguous(), rows[:, 4].contiguous()
    if len(rows) <= _CHUNK:
        alone: Tensor = nms(boxes, scores, iou_threshold)
        return alone
    # nms compares in float64: a number that is above the threshold there has to be so here
    limit = torch.tensor(iou_threshold, dtype=rows.dtype)
    if float(limit) > iou_threshold:
        limit = limit.nextafter(torch.zeros_like(limit))
    numbers = torch.arange(len(rows), device=rows.device)
    kept = numbers[:0]
    for chunk in torch.split(numbers, _CHUNK):
        if len(kept) >= max_faces:
            break
        if len(kept):
            # overwritten with 0 and 1, whose largest is found faster than any truth among truths
            overlaps = pairwise_iou(boxes[chunk], boxes[kept]).gt_(float(limit))
            chunk = chunk[overlaps.amax(dim=1) == 0]
        kept = torch.cat([kept, chunk[nms(boxes[chunk], scores[chunk], iou_threshold)]])
    return kept
