"""Points: the corners of the cells of every level, and boxes and landmarks relative to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from secateur.detectors.boxes import LARGEST_GROWTH

STRIDES = (8, 16, 32)
LANDMARKS = 5


def make_points(
    height: int,
    width: int,
    strides: Sequence[int] = STRIDES,
    device: torch.device | str | None = None,
) -> Tensor:
    """Lay one point over every cell, levels in order and rows first.

    Args:
        height: Height of the network input in pixels.
        width: Width of the network input in pixels.
        strides: Pixels per cell of each level; parts of cells do not count.
        device: Where the points shall lie.

    Returns:
        (P, 3) x and y of the upper left corner of each cell in pixels, and its stride.

    Examples:
        >>> make_points(8, 16, strides=[8])
        tensor([[0., 0., 8.],
                [8., 0., 8.]])
    """
    levels = []
    for stride in strides:
        y = torch.arange(height // stride, device=device, dtype=torch.float32) * stride
        x = torch.arange(width // stride, device=device, dtype=torch.float32) * stride
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        level = torch.stack([columns, rows, torch.full_like(rows, stride)], dim=2)
        levels.append(level.flatten(0, 1))
    return torch.cat(levels)


def point_scores(classes: Tensor, objectness: Tensor, root: bool = True) -> Tensor:
    """Scores of faces: class times objectness, or the square root of it.

    Args:
        classes: (B, P, 1) logits.
        objectness: (B, P, 1) logits.
        root: Whether the root is taken.

    Returns:
        (B, P) in 0..1.

    Examples:
        >>> point_scores(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
        tensor([[0.5000]])
    """
    product = classes[..., 0].sigmoid() * objectness[..., 0].sigmoid()
    return product.sqrt() if root else product


def decode_boxes(offsets: Tensor, points: Tensor) -> Tensor:
    """Boxes that a network predicts.

    Args:
        offsets: (..., P, 4) centre relative to the point, and logarithm of width and height, all in
            strides.
        points: (..., P, 3) x, y, stride.

    Returns:
        (..., P, 4) corners in pixels, not clipped to the input.

    Examples:
        >>> decode_boxes(torch.tensor([[0.5, 0.5, 0.0, 0.0]]), torch.tensor([[8.0, 0.0, 8.0]]))
        tensor([[ 8.,  0., 16.,  8.]])
    """
    stride = points[..., 2:]
    center = offsets[..., :2] * stride + points[..., :2]
    # No face is e^16 strides; unbounded, a ruined network's boxes overflow to infinity.
    half = offsets[..., 2:].clamp(max=LARGEST_GROWTH).exp() * stride / 2
    return torch.cat([center - half, center + half], dim=-1)


def decode_landmarks(offsets: Tensor, points: Tensor) -> Tensor:
    """Landmarks that a network predicts.

    Args:
        offsets: (..., P, 10) x and y of five landmarks relative to the point, in strides.
        points: (..., P, 3) x, y, stride.

    Returns:
        (..., P, 10) pixels.

    Examples:
        >>> decode_landmarks(torch.full((1, 10), 0.5), torch.tensor([[8.0, 0.0, 8.0]]))
        tensor([[12.,  4., 12.,  4., 12.,  4., 12.,  4., 12.,  4.]])
    """
    return offsets * points[..., 2:] + torch.cat([points[..., :2]] * LANDMARKS, dim=-1)


def encode_landmarks(landmarks: Tensor, points: Tensor) -> Tensor:
    """Offsets that a network must predict; the inverse of ``decode_landmarks``.

    Args:
        landmarks: (..., P, 5, 2) pixels.
        points: (..., P, 3) x, y, stride.

    Returns:
        (..., P, 10) in strides.
    """
    offsets = (landmarks - points[..., None, :2]) / points[..., None, 2:]
    return offsets.flatten(-2)


def decode_faces(
    boxes: Tensor, landmarks: Tensor | None, chosen: Tensor, size: tuple[int, int]
) -> Tensor:
    """Faces that a network predicts at some points.

    Args:
        boxes: (B, P, 4) offsets of boxes.
        landmarks: (B, P, 10) offsets of landmarks, or None.
        chosen: (B, K) indices of points.
        size: Height and width of the network input in pixels.

    Returns:
        (B, K, 4) corners in fractions of the input, and after them the landmarks (B, K, 14).
    """
    height, width = size
    points = make_points(height, width, device=boxes.device)[chosen]
    rows = decode_boxes(boxes.gather(1, chosen[..., None].expand(-1, -1, 4)), points)
    if landmarks is not None:
        columns = 2 * LANDMARKS
        offsets = landmarks.gather(1, chosen[..., None].expand(-1, -1, columns))
        rows = torch.cat([rows, decode_landmarks(offsets, points)], dim=2)
    return rows / rows.new_tensor([width, height] * (rows.shape[2] // 2))
