"""Matching: which anchors learn which faces (S3FD, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.detectors.boxes import center_to_corner, pairwise_iou

THRESHOLDS = (0.1, 0.35, 0.5)
_BLOCK_PAIRS = 2**18
_DEVICE_PAIRS = 2**25  # where a launch costs more than what does not fit into a cache


def match_anchors(faces: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Assign faces to anchors, with the scale compensation of S3FD.

    An anchor is positive where its best overlap is at least 0.35, or where it is the best anchor
    of a face (of several such faces, the last one wins it). Then as many anchors again as the
    image has well matched faces on average, of those that overlap by more than 0.1, are added in
    the order of their overlap. The count is one for the image, not one for each face, as in the
    published code.

    Args:
        faces: (G, 4) corners in fractions of the input; G may be 0.
        anchors: (N, 4) cx, cy, w, h.

    Returns:
        Labels (N,) bool, True where positive, and the index (N,) of the face of each anchor, which
        means nothing where the label is False.
    """
    n_faces, n_anchors = len(faces), len(anchors)
    if n_faces == 0:
        return (
            torch.zeros(n_anchors, dtype=torch.bool, device=anchors.device),
            torch.zeros(n_anchors, dtype=torch.long, device=anchors.device),
        )
    low, threshold, high = THRESHOLDS
    face_overlap, face_anchor, anchor_overlap, face_index = _best_overlaps(faces, anchors)

    numbers = torch.arange(n_faces, device=anchors.device)
    claimed = torch.full_like(face_index, -1)
    claimed.scatter_reduce_(0, face_anchor, numbers, reduce="amax")
    face_index = torch.where(claimed >= 0, claimed, face_index)
    labels = (anchor_overlap >= threshold) | (claimed >= 0)

    candidates = torch.where(labels | (anchor_overlap <= low), 0, anchor_overlap)
    extra = ((face_overlap >= threshold).sum() + (face_overlap >= high).sum()) // 2
    return labels | largest(candidates, extra, at_most=n_faces), face_index


def _best_overlaps(faces: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Best overlap and its anchor for each face (G,), best overlap and its face for each anchor.

    Faces go in blocks whose overlaps fit into the cache of a processor: a crowd of 300 faces takes
    a tenth of the time of one large matrix.
    """
    corners = center_to_corner(anchors)
    by_face = []
    anchor_overlap = torch.full_like(anchors[:, 0], -1)
    face_index = torch.zeros(len(anchors), dtype=torch.long, device=anchors.device)
    pairs = _BLOCK_PAIRS if anchors.device.type == "cpu" else _DEVICE_PAIRS
    block = max(1, pairs // len(anchors))
    for start in range(0, len(faces), block):
        overlaps = pairwise_iou(faces[start : start + block], corners)
        by_face.append(overlaps.max(dim=1))
        overlap, index = overlaps.max(dim=0)
        better = overlap > anchor_overlap
        anchor_overlap = torch.where(better, overlap, anchor_overlap)
        face_index = torch.where(better, index + start, face_index)
    face_overlap = torch.cat([overlap for overlap, _ in by_face])
    face_anchor = torch.cat([index for _, index in by_face])
    return face_overlap, face_anchor, anchor_overlap, face_index


def largest(values: Tensor, count: Tensor, at_most: int) -> Tensor:
    """Mark the largest positive values; of equal ones the first, as a stable sort would.

    Args:
        values: (..., N) values; those that are not positive are never marked.
        count: (...,) how many to mark in each row.
        at_most: No count is larger.

    Returns:
        (..., N) bool.
    """
    at_most = min(at_most, values.shape[-1])
    if at_most == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    # A partial sort finds the last value that is taken; the ties with it are settled by position.
    top = values.topk(at_most, dim=-1).values
    last = top.gather(-1, (count[..., None] - 1).clamp(0, at_most - 1))
    above = (values > last) & (values > 0)
    tied = (values == last) & (values > 0)
    room = count[..., None] - above.sum(dim=-1, keepdim=True)
    marked: Tensor = (above | (tied & (tied.cumsum(dim=-1) <= room))) & (count[..., None] > 0)
    return marked
