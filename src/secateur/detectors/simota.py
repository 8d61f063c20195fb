"""SimOTA: which points learn which faces (Ge et al., "YOLOX", 2021, section 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor

CENTER_RADIUS = 2.5  # strides around the centre of a face in which a point is central
CANDIDATES = 10  # overlaps whose sum says how many points a face gets
IOU_WEIGHT = 3.0
OUTSIDE_COST = 1e5
_SMALLEST_LOG = -100.0  # as in the binary cross-entropy of PyTorch


@torch.no_grad()
def assign_points(
    classes: Tensor, objectness: Tensor, boxes: Tensor, points: Tensor, faces: Tensor
) -> tuple[Tensor, Tensor]:
    """Assign faces to points by the cost of what the network predicts there.

    Every face takes as many of its cheapest points as the sum of its ten largest overlaps says, at
    least one. A point that several faces take goes to the cheapest of all faces for it, which need
    not be one of them; so a face may end up without a point.

    Args:
        classes: (P,) class logits of one image.
        objectness: (P,) objectness logits.
        boxes: (P, 4) predicted corners in pixels.
        points: (P, 3) x, y of the cell's corner and stride in pixels.
        faces: (G, 4) corners in pixels; G may be 0.

    Returns:
        Index (P,) of the face of each point, -1 where it has none, and overlap (P,) of its
        predicted box with that face, 0 where it has none.
    """
    matched = torch.full((len(points),), -1, dtype=torch.long, device=points.device)
    overlap = torch.zeros_like(points[:, 0])
    if len(faces) == 0:
        return matched, overlap
    near, inner = _where(points, faces)
    near = near.nonzero().flatten()
    if len(near) == 0:
        return matched, overlap
    ious = overlaps(boxes[near], faces)
    # the square root of class times objectness, as the detector scores a face
    probability = classes[near].sigmoid() * objectness[near].sigmoid()
    class_cost = -probability.sqrt().log().clamp(min=_SMALLEST_LOG)
    cost = -(ious + 1e-7).log() * IOU_WEIGHT + class_cost[:, None]
    cost = cost + OUTSIDE_COST * (~inner[near]).float()

    counts = ious.topk(min(CANDIDATES, len(near)), dim=0).values.sum(dim=0).int().clamp(min=1)
    most = int(counts.max())
    cheapest = cost.topk(most, dim=0, largest=False).indices
    within = torch.arange(most, device=cost.device)[:, None] < counts
    taken = torch.zeros_like(cost, dtype=torch.bool).scatter(0, cheapest, within)

    takers = taken.sum(dim=1)
    face = torch.where(takers > 1, cost.argmin(dim=1), taken.float().argmax(dim=1))
    wins = takers > 0
    matched[near[wins]] = face[wins]
    overlap[near[wins]] = ious[wins, face[wins]]
    return matched, overlap


def overlaps(boxes: Tensor, faces: Tensor) -> Tensor:
    """Intersection over union of all pairs, 0 where both boxes have no area.

    Args:
        boxes: (P, 4) corners.
        faces: (G, 4) corners.

    Returns:
        (P, G).
    """
    low = torch.maximum(boxes[:, None, :2], faces[:, :2])
    high = torch.minimum(boxes[:, None, 2:], faces[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    face_area = (faces[:, 2:] - faces[:, :2]).prod(dim=1)
    return shared / (area[:, None] + face_area - shared).clamp(min=1e-6)


def _where(points: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Points (P,) in or near any face, and pairs (P, G) of points both in a face and central."""
    stride = points[:, 2:]
    center = points[:, :2] + stride / 2
    inside = ((center[:, None] > faces[:, :2]) & (center[:, None] < faces[:, 2:])).all(dim=2)
    middle = (faces[:, :2] + faces[:, 2:]) / 2
    radius = CENTER_RADIUS * stride[:, None]
    central = ((center[:, None] - middle).abs() < radius).all(dim=2)
    return (inside | central).any(dim=1), inside & central
