"""Distillation losses: a pruned network is pulled to what its teacher says about the same picture.

Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015), for detectors with
the weighting of anchors that dense detection needs: nearly all anchors are background, and those
count on which teacher or student sees a face (compare Lin et al., "Focal loss", ICCV 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_LEAST_FACES = 1.0  # a picture without faces is divided by this, not by zero


def detector_distillation(
    locations: Tensor,
    logits: Tensor,
    teacher_locations: Tensor,
    teacher_logits: Tensor,
    picture_share: float = 0.5,
) -> tuple[Tensor, Tensor]:
    """How far a detector is from its teacher, for detectors that share their anchors.

    With p the probability of a face, the probabilities are compared by
    ``sum w KL(p_teacher || p) / n`` with ``w = max(p_teacher, p)^2`` (no gradient through w) and
    locations by ``sum p_teacher^2 smooth_l1(location - location_teacher) / n``, where
    ``n = sum p_teacher^2`` is the teacher's number of faces.

    Args:
        locations: (B, N, 4) locations of the student.
        logits: (B, N, 2) logits of the student: background, face.
        teacher_locations: (B, N, 4).
        teacher_logits: (B, N, 2).
        picture_share: In [0, 1], how much of the loss is the mean of what single pictures give,
            in which a lone large face counts as much as a crowd; the rest divides by the faces of
            the whole batch.

    Returns:
        Two scalars: of locations and of probabilities.

    Examples:
        >>> logits, locations = torch.randn(2, 5, 2), torch.randn(2, 5, 4)
        >>> losses = detector_distillation(locations, logits, locations, logits)
        >>> [round(float(loss), 6) for loss in losses]
        [0.0, 0.0]
    """
    margin, teacher_margin = face_margin(logits), face_margin(teacher_logits)
    teacher = teacher_margin.sigmoid()
    importance = torch.maximum(teacher, margin.detach().sigmoid()).square()
    # KL of two coins, from margins, so that a probability of nearly 0 or 1 costs no precision.
    divergence = teacher * (
        functional.logsigmoid(teacher_margin) - functional.logsigmoid(margin)
    ) + (1 - teacher) * (functional.logsigmoid(-teacher_margin) - functional.logsigmoid(-margin))
    distance = functional.smooth_l1_loss(locations, teacher_locations, reduction="none").sum(-1)
    faces = teacher.square()
    return (
        balanced((faces * distance).sum(1), faces.sum(1), picture_share),
        balanced((importance * divergence).sum(1), faces.sum(1), picture_share),
    )


def face_margin(logits: Tensor) -> Tensor:
    """Logit of a face against background, (B, N), from logits (B, N, 2)."""
    return logits[..., 1] - logits[..., 0]


def balanced(sums: Tensor, counts: Tensor, picture_share: float) -> Tensor:
    """Mean over a batch, partly per counted item and partly per picture.

    Args:
        sums: (B,) a loss summed over each picture.
        counts: (B,) how many items each picture has; at least 1 is counted.
        picture_share: Share of the mean over pictures, in [0, 1].

    Returns:
        A scalar.

    Examples:
        >>> balanced(torch.tensor([8.0, 1.0]), torch.tensor([8.0, 1.0]), 0.5)
        tensor(1.)
        >>> balanced(torch.tensor([8.0, 3.0]), torch.tensor([8.0, 1.0]), 1.0)
        tensor(2.)
    """
    by_item = sums.sum() / counts.sum().clamp(min=_LEAST_FACES)
    by_picture = (sums / counts.clamp(min=_LEAST_FACES)).mean()
    return (1 - picture_share) * by_item + picture_share * by_picture


def embedding_distillation(embeddings: Tensor, teacher_embeddings: Tensor) -> Tensor:
    """One minus the cosine between the embeddings of student and teacher, averaged.

    Args:
        embeddings: (B, D) of the student.
        teacher_embeddings: (B, D) of the teacher.

    Returns:
        A scalar in [0, 2].

    Examples:
        >>> embedding_distillation(torch.tensor([[2.0, 0.0]]), torch.tensor([[5.0, 0.0]]))
        tensor(0.)
    """
    return (1 - functional.cosine_similarity(embeddings, teacher_embeddings, dim=1)).mean()


def logit_distillation(logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """KL divergence of class probabilities at a temperature, times its square (Hinton, section 2).

    Args:
        logits: (B, C) of the student.
        teacher_logits: (B, C) of the teacher.
        temperature: Above 0; a higher one also tells which wrong classes are near.

    Returns:
        A scalar, at least 0, whose gradient does not shrink as the temperature rises.

    Raises:
        ValueError: If the temperature is not above 0.

    Examples:
        >>> logit_distillation(torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 3.0]])).item()
        0.0
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    student = functional.log_softmax(logits / temperature, dim=1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    divergence = functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2
