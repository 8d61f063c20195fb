"""Multibox loss: smooth L1 on locations, cross-entropy with hard-negative mining on logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from secateur.detectors.boxes import encode
from secateur.detectors.matching import largest, match_anchors


def multibox_loss(
    locations: Tensor,
    logits: Tensor,
    anchors: Tensor,
    faces: Sequence[Tensor],
    negatives_per_positive: int = 3,
) -> tuple[Tensor, Tensor]:
    """Location and confidence loss of a batch (SSD, section 2.2, with the matching of S3FD).

    Args:
        locations: (B, N, 4) predicted locations.
        logits: (B, N, 2) predicted logits: background, face.
        anchors: (N, 4) cx, cy, w, h.
        faces: Per image (G, 4) corners in fractions of the input, of positive width and height;
            G may be 0, and such an image adds nothing to the loss.
        negatives_per_positive: Negatives kept per positive anchor of the same image.

    Returns:
        Two scalars, both divided by the number of positive anchors of the batch (at least 1).
    """
    positive, targets = _targets(anchors, faces)
    n_positive = positive.sum().clamp(min=1)
    location_loss = functional.smooth_l1_loss(locations[positive], targets, reduction="sum")

    negative = hard_negatives(logits.detach(), positive, negatives_per_positive)
    selected = positive | negative
    confidence_loss = functional.cross_entropy(
        logits[selected], positive[selected].long(), reduction="sum"
    )
    return location_loss / n_positive, confidence_loss / n_positive


def hard_negatives(logits: Tensor, positive: Tensor, negatives_per_positive: int = 3) -> Tensor:
    """Mark the negative anchors that look most like a face.

    Args:
        logits: (B, N, 2) background, face.
        positive: (B, N) bool.
        negatives_per_positive: Negatives kept per positive anchor of the same image.

    Returns:
        (B, N) bool, of equal anchors the first.
    """
    n_anchors = positive.shape[1]
    count = (negatives_per_positive * positive.sum(dim=1)).clamp(max=n_anchors - 1)
    # softplus(face - background) is the cross-entropy of a negative anchor
    loss = functional.softplus(logits[..., 1] - logits[..., 0]).masked_fill(positive, 0)
    return largest(loss, count, at_most=int(count.max()))


def _targets(anchors: Tensor, faces: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Positive anchors (B, N) of a batch, and the locations (P, 4) that they shall predict."""
    positives, targets = [], []
    with torch.no_grad():
        for boxes in faces:
            boxes = boxes.to(anchors)
            positive, face_index = match_anchors(boxes, anchors)
            positives.append(positive)
            if len(boxes):
                targets.append(encode(boxes[face_index[positive]], anchors[positive]))
        return torch.stack(positives), torch.cat([anchors[:0], *targets])
