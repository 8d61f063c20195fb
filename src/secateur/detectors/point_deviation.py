"""Point deviation: how far two detectors of points are apart, in units of the face."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from secateur.detectors.points import LANDMARKS

PLACE = 0.1  # unit of places: a tenth of the face's width or height
SIZE = 0.2  # unit of the logarithms of width and height, as the variances of SSD


def box_deviation(boxes: Tensor, wanted: Tensor) -> Tensor:
    """Smooth L1 between boxes of the same points, summed over the four numbers.

    A stride is much of a small face and little of a large one; so centers are compared in shares
    of the wanted box, and sizes by their ratio.

    Args:
        boxes: (..., 4) center relative to the point, and logarithm of the size, in strides.
        wanted: (..., 4) likewise.

    Returns:
        (...,).

    Examples:
        >>> box_deviation(torch.tensor([[0.1, 0.0, 0.0, 0.0]]), torch.zeros(1, 4))
        tensor([0.5000])
    """
    place = (boxes[..., :2] - wanted[..., :2]) / (wanted[..., 2:].exp() * PLACE)
    size = (boxes[..., 2:] - wanted[..., 2:]) / SIZE
    return _smooth(torch.cat([place, size], dim=-1)).sum(-1)


def landmark_deviation(landmarks: Tensor, wanted: Tensor, boxes: Tensor) -> Tensor:
    """Smooth L1 between landmarks of the same points, averaged over the ten numbers.

    Args:
        landmarks: (..., 10) relative to the point, in strides.
        wanted: (..., 10) likewise.
        boxes: (..., 4) boxes of the wanted faces, whose size is the unit.

    Returns:
        (...,).

    Examples:
        >>> landmark_deviation(torch.full((1, 10), 0.2), torch.zeros(1, 10), torch.zeros(1, 4))
        tensor([1.5000])
    """
    unit = torch.cat([boxes[..., 2:].exp() * PLACE] * LANDMARKS, dim=-1)
    return _smooth((landmarks - wanted) / unit).mean(-1)


def _smooth(distance: Tensor) -> Tensor:
    return functional.smooth_l1_loss(distance, torch.zeros_like(distance), reduction="none")
