"""Loss of a detector of points: class by overlap, objectness, box and landmarks (YuNet)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
import torch.distributed
from torch import Tensor
from torch.nn import functional

from secateur.detectors.balancing import balanced
from secateur.detectors.iou_losses import diou_loss, eiou_loss
from secateur.detectors.points import LANDMARKS, decode_boxes, encode_landmarks
from secateur.detectors.simota import assign_points

BOX_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "eiou": eiou_loss,
    "diou": diou_loss,
}
_SMOOTH_BELOW = 1 / 9


class PointTargets(NamedTuple):
    """What the points of a batch shall predict.

    Attributes:
        positive: (B, P) bool, which points learn a face; the other tensors are of these alone, in
            the order of images and points.
        overlap: (N,) overlap of the predicted box with its face.
        boxes: (N, 4) corners in pixels.
        landmarks: (N, 5, 2) pixels.
        landmark_weight: (N,) share of the face's landmarks that are annotated.
    """

    positive: Tensor
    overlap: Tensor
    boxes: Tensor
    landmarks: Tensor
    landmark_weight: Tensor


def point_loss(
    classes: Tensor,
    boxes: Tensor,
    objectness: Tensor,
    landmarks: Tensor | None,
    points: Tensor,
    faces: Sequence[Tensor],
    box_loss: Literal["eiou", "diou"] = "eiou",
    box_weight: float = 5.0,
    landmark_weight: float = 0.1,
    exact: Tensor | None = None,
    picture_share: float = 0.0,
) -> dict[str, Tensor]:
    """Loss of a batch.

    Args:
        classes: (B, P, 1) class logits.
        boxes: (B, P, 4) offsets of boxes.
        objectness: (B, P, 1) objectness logits.
        landmarks: (B, P, 10) offsets of landmarks, or None.
        points: (P, 3) x, y, stride.
        faces: Per image (G, 4) corners in pixels, or (G, 19): after the corners x, y and weight of
            five landmarks, weight 0 where one is not annotated. G may be 0.
        box_loss: ``eiou`` as yunet_n was trained, ``diou`` as yunet_s.
        box_weight: Factor of the loss of boxes.
        landmark_weight: Factor of the loss of landmarks; without annotated ones it is 0.
        exact: (B,) whether boxes and landmarks of an image are to be learned; of others only where
            faces are. None: those of all images.
        picture_share: How much of all terms but the last is a mean over pictures, in [0, 1].

    Returns:
        Scalars ``class``, ``objectness``, ``box`` and, with landmarks, ``landmark``, weighted; the
        loss is their sum. All but the last are divided by the number of positive points (at least
        1), averaged over the processes of a distributed run.
    """
    decoded = decode_boxes(boxes, points)
    targets = _targets(classes, objectness, decoded, points, faces)
    positive = targets.positive
    pictures = len(faces)
    picture = torch.arange(pictures, device=positive.device)[:, None].expand_as(positive)[positive]
    learned = positive.new_ones(pictures) if exact is None else exact.to(positive)
    counts = positive.sum(1).float()
    total = _mean_over_processes(counts.sum())
    exact_counts = counts * learned
    exact_total = total if exact is None else _mean_over_processes(exact_counts.sum())

    def averaged(values: Tensor) -> Tensor:
        """Mean over the positive points of the pictures whose boxes are exact."""
        sums = values.new_zeros(pictures).index_add(0, picture, values * learned[picture])
        return balanced(sums, exact_counts, picture_share, exact_total)

    entropy = functional.binary_cross_entropy_with_logits
    face = entropy(objectness[..., 0], positive.float(), reduction="none").sum(1)
    losses = {
        # what a class shall be is the overlap with an exact box
        "class": averaged(entropy(classes[positive][:, 0], targets.overlap, reduction="none")),
        "objectness": balanced(face, counts, picture_share, total),
        "box": box_weight * averaged(BOX_LOSSES[box_loss](decoded[positive], targets.boxes)),
    }
    if landmarks is not None:
        corners = points.expand(len(positive), -1, -1)[positive]
        error = landmark_loss(landmarks[positive], encode_landmarks(targets.landmarks, corners))
        weight = targets.landmark_weight * learned[picture]
        losses["landmark"] = landmark_weight * (
            (error * weight).sum() / (weight.sum() + torch.finfo(torch.float32).eps)
        )
    return losses


def landmark_loss(offsets: Tensor, targets: Tensor) -> Tensor:
    """Smooth L1, quadratic below 1/9, summed over the coordinates.

    Args:
        offsets: (N, 10) predicted.
        targets: (N, 10) wanted.

    Returns:
        (N,).
    """
    errors = functional.smooth_l1_loss(offsets, targets, reduction="none", beta=_SMOOTH_BELOW)
    return errors.sum(dim=1)


@torch.no_grad()
def _targets(
    classes: Tensor, objectness: Tensor, decoded: Tensor, points: Tensor, faces: Sequence[Tensor]
) -> PointTargets:
    """Assign the faces of every image to its points; boxes ``decoded`` are (B, P, 4) in pixels."""
    matched, overlap, rows = [], [], []
    for image, image_faces in enumerate(faces):
        image_faces = image_faces.to(points)
        face, iou = assign_points(
            classes[image, :, 0],
            objectness[image, :, 0],
            decoded[image],
            points,
            image_faces[:, :4],
        )
        matched.append(face >= 0)
        overlap.append(iou)
        rows.append(_with_landmarks(image_faces)[face[face >= 0]])
    positive = torch.stack(matched)
    chosen = torch.cat(rows)
    landmarks = chosen[:, 4:].reshape(-1, LANDMARKS, 3)
    return PointTargets(
        positive,
        torch.stack(overlap)[positive],
        chosen[:, :4],
        landmarks[..., :2],
        landmarks[..., 2].mean(dim=1),
    )


def _with_landmarks(faces: Tensor) -> Tensor:
    """Faces (G, 19), landmarks of weight 0 where there are none."""
    if faces.shape[1] == 4:
        return functional.pad(faces, (0, 15))
    return faces


def _mean_over_processes(count: Tensor) -> Tensor:
    """Mean of a scalar over the processes of a distributed run, so that gradients average right."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return count
    total = count.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()
