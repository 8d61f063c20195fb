"""The plain way of doing things, as the specification reads: loops over locations and boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def anchors(height: int, width: int) -> Tensor:
    """Anchors of the six levels, one location at a time."""
    rows: list[tuple[float, ...]] = []
    for stride, size in zip((4, 8, 16, 32, 64, 128), (16, 32, 64, 128, 256, 512), strict=True):
        for i in range(-(-height // stride)):
            for j in range(-(-width // stride)):
                centre = ((j + 0.5) * stride / width, (i + 0.5) * stride / height)
                rows += [(*centre, size / width, size / height)]
    return torch.tensor(rows)


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Overlap of two boxes given by their corners."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared)


def nms(boxes: Sequence[Sequence[float]], threshold: float, at_most: int) -> list[int]:
    """Greedy suppression, box by box; boxes come in order of falling scores."""
    kept: list[int] = []
    for index, box in enumerate(boxes):
        if all(iou(box, boxes[other]) <= threshold for other in kept):
            kept.append(index)
            if len(kept) == at_most:
                break
    return kept


def fpgm(weight: Tensor) -> list[float]:
    """Sum of distances of each filter to the others, pair by pair."""
    filters = weight.flatten(1)
    return [float(sum(torch.dist(a, b) for b in filters)) for a in filters]
