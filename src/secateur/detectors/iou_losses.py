"""Losses of boxes that follow the intersection over union: EIoU and DIoU."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-6
SMOOTH_BELOW = 0.1


def eiou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Extended IoU loss (Peng and Yu, IEEE TIP 30, 2021): disjoint boxes overlap negatively.

    The farther apart two boxes are, the more negative is what they share, so that the loss always
    has a gradient; below 0.1 it is quadratic.

    Args:
        boxes: (..., 4) predicted corners.
        targets: (..., 4) wanted corners.

    Returns:
        (...,) losses, 0 for equal boxes.

    Examples:
        >>> box = torch.tensor([0.0, 0.0, 2.0, 2.0])
        >>> eiou_loss(box, box).item() < 1e-6
        True
        >>> bool(eiou_loss(box, box + 9) > eiou_loss(box, box + 3))
        True
    """
    low = torch.minimum(boxes[..., :2], targets[..., :2])
    start = torch.maximum(boxes[..., :2], targets[..., :2])
    stop = torch.minimum(boxes[..., 2:], targets[..., 2:])
    # corners of what both share, from the corner of what encloses both; crossed when disjoint
    near = torch.minimum(start, stop) - low
    far = torch.maximum(start, stop) - low
    start, stop = start - low, stop - low
    shared = (
        stop[..., 0] * stop[..., 1]
        + near[..., 0] * near[..., 1]
        - start[..., 0] * far[..., 1]
        - far[..., 0] * start[..., 1]
    )
    union = _area(boxes) + _area(targets) - shared + EPSILON
    loss = 1 - shared / union
    return torch.where(
        loss < SMOOTH_BELOW, 0.5 * loss.square() / SMOOTH_BELOW, loss - 0.5 * SMOOTH_BELOW
    )


def diou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Distance IoU loss (Zheng et al., AAAI 2020): 1 - IoU + (distance of centres / diagonal)^2.

    Args:
        boxes: (..., 4) predicted corners.
        targets: (..., 4) wanted corners.

    Returns:
        (...,) losses.

    Examples:
        >>> diou_loss(torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([1.0, 0.0, 2.0, 1.0]))
        tensor(1.2000)
    """
    start = torch.maximum(boxes[..., :2], targets[..., :2])
    stop = torch.minimum(boxes[..., 2:], targets[..., 2:])
    shared = (stop - start).clamp(min=0).prod(dim=-1)
    union = _area(boxes) + _area(targets) - shared + EPSILON
    low = torch.minimum(boxes[..., :2], targets[..., :2])
    high = torch.maximum(boxes[..., 2:], targets[..., 2:])
    diagonal = (high - low).clamp(min=0).square().sum(dim=-1) + EPSILON
    offset = (targets[..., :2] + targets[..., 2:] - boxes[..., :2] - boxes[..., 2:]) / 2
    return 1 - shared / union + offset.square().sum(dim=-1) / diagonal


def _area(boxes: Tensor) -> Tensor:
    """Signed area (...,) of corners (..., 4)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
