"""Box voting: merge what several passes over one picture found into one box per face."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def vote_boxes(
    detections: Tensor,
    iou_threshold: float = 0.3,
    max_faces: int = 750,
    keep_singles: bool = True,
) -> Tensor:
    """Merge detections by the rule of the S3FD evaluation.

    The best detection gathers all that overlap it, itself included, and their average, weighted
    by score, replaces them; then the best of the rest does so. Overlaps count border pixels twice
    (the +1 convention).

    Args:
        detections: ``(N, 5)`` x1, y1, x2, y2, score in pixels, in any order.
        iou_threshold: Detections with at least this IoU belong together.
        max_faces: Boxes to return at most, the best first.
        keep_singles: Whether a detection that nothing overlaps is kept. EResFD's own evaluation
            keeps it, those of EXTD and of the pruning papers drop it.

    Returns:
        ``(K, 5)`` merged boxes, each with the highest score of its members, scores descending.
    """
    # one small step per face, for which numpy has a fraction of the overhead of torch
    rows = detections.detach().cpu().double().numpy()
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    area = (rows[:, 2] - rows[:, 0] + 1) * (rows[:, 3] - rows[:, 1] + 1)
    merged: list[np.ndarray] = []
    while len(rows) and len(merged) < max_faces:
        corner = np.maximum(rows[0, :2], rows[:, :2])
        size = np.maximum(np.minimum(rows[0, 2:4], rows[:, 2:4]) - corner + 1, 0)
        shared = size[:, 0] * size[:, 1]
        member = shared >= iou_threshold * (area[0] + area - shared)
        member[0] = True
        if keep_singles or np.count_nonzero(member) > 1:
            members = rows[member]
            box = members[:, 4] @ members[:, :4] / members[:, 4].sum()
            merged.append(np.append(box, rows[0, 4]))
        rows, area = rows[~member], area[~member]
    result = np.stack(merged) if merged else np.empty((0, 5))
    return torch.from_numpy(result).to(detections)
