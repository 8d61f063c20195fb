"""Multibox loss: smooth L1 on locations, cross-entropy with hard-negative mining on logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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
    sums = multibox_sums(locations, logits, anchors, faces, negatives_per_positive)
    n_positive = sums.positives.sum().clamp(min=1)
    return sums.location.sum() / n_positive, sums.confidence.sum() / n_positive


class MultiboxSums(NamedTuple):
    """The multibox loss of every picture of a batch, before any division.

    Attributes:
        location: (B,) smooth L1 summed over positive anchors.
        confidence: (B,) cross-entropy summed over positive anchors and hard negatives.
        positives: (B,) number of positive anchors.
    """

    location: Tensor
    confidence: Tensor
    positives: Tensor


def multibox_sums(
    locations: Tensor,
    logits: Tensor,
    anchors: Tensor,
    faces: Sequence[Tensor],
    negatives_per_positive: int = 3,
) -> MultiboxSums:
    """The parts of ``multibox_loss``, picture by picture; see there for the arguments."""
    positive, targets = _targets(anchors, faces)
    pictures = len(faces)
    per_anchor = functional.smooth_l1_loss(locations[positive], targets, reduction="none").sum(1)
    picture = torch.arange(pictures, device=positive.device)[:, None].expand_as(positive)
    location = per_anchor.new_zeros(pictures).index_add(0, picture[positive], per_anchor)

    negative = hard_negatives(logits.detach(), positive, negatives_per_positive)
    selected = positive | negative
    entropy = functional.cross_entropy(
        logits[selected], positive[selected].long(), reduction="none"
    )
    confidence = entropy.new_zeros(pictures).index_add(0, picture[selected], entropy)
    return MultiboxSums(location, confidence, positive.sum(1))


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
