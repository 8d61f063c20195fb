"""Boxes: corner and centre form, intersection over union, and offsets to anchors."""

from __future__ import annotations

import torch
from torch import Tensor

VARIANCE = (0.1, 0.2)
LARGEST_GROWTH = 16.0


def center_to_corner(boxes: Tensor) -> Tensor:
    """Centre form to corner form.

    Args:
        boxes: (..., 4) cx, cy, w, h.

    Returns:
        (..., 4) x1, y1, x2, y2.

    Examples:
        >>> center_to_corner(torch.tensor([0.5, 0.5, 0.2, 0.4]))
        tensor([0.4000, 0.3000, 0.6000, 0.7000])
    """
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([center - half, center + half], dim=-1)


def corner_to_center(boxes: Tensor) -> Tensor:
    """Corner form to centre form.

    Args:
        boxes: (..., 4) x1, y1, x2, y2.

    Returns:
        (..., 4) cx, cy, w, h.

    Examples:
        >>> corner_to_center(torch.tensor([0.4, 0.3, 0.6, 0.7]))
        tensor([0.5000, 0.5000, 0.2000, 0.4000])
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of all pairs, without the +1 of pixel coordinates.

    Args:
        first: (M, 4) corners.
        second: (N, 4) corners.

    Returns:
        (M, N) values in 0..1; NaN where both boxes have no area.

    Examples:
        >>> box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        >>> pairwise_iou(box, torch.tensor([[0.0, 0.0, 1.0, 0.5], [2.0, 2.0, 3.0, 3.0]]))
        tensor([[0.5000, 0.0000]])
    """
    x1, y1, x2, y2 = first[:, :, None].unbind(1)
    u1, v1, u2, v2 = second.t().contiguous()
    # In place, because the (M, N) planes are large and memory is what this waits for.
    overlap = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp_(min=0)
    overlap *= (torch.minimum(y2, v2) - torch.maximum(y1, v1)).clamp_(min=0)
    area = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1)
    return overlap.div_(area.sub_(overlap))


def encode(faces: Tensor, anchors: Tensor) -> Tensor:
    """Offsets that a network must predict for faces at anchors (SSD, equation 2).

    Args:
        faces: (K, 4) corners, in fractions of the input, of positive width and height.
        anchors: (K, 4) cx, cy, w, h.

    Returns:
        (K, 4) locations.
    """
    centered = corner_to_center(faces)
    offset = (centered[:, :2] - anchors[:, :2]) / (VARIANCE[0] * anchors[:, 2:])
    scale = (centered[:, 2:] / anchors[:, 2:]).log() / VARIANCE[1]
    return torch.cat([offset, scale], dim=1)


def decode(locations: Tensor, anchors: Tensor) -> Tensor:
    """Boxes that a network predicts; the inverse of ``encode``.

    Args:
        locations: (..., K, 4) locations.
        anchors: (..., K, 4) cx, cy, w, h.

    Returns:
        (..., K, 4) corners in fractions of the input, not clipped to it.
    """
    center = anchors[..., :2] + locations[..., :2] * VARIANCE[0] * anchors[..., 2:]
    # No face is e^16 times its anchor; unbounded, a young network's boxes overflow to infinity.
    growth = (locations[..., 2:] * VARIANCE[1]).clamp(max=LARGEST_GROWTH)
    size = anchors[..., 2:] * torch.exp(growth)
    low = center - size / 2
    return torch.cat([low, low + size], dim=-1)
