"""Distillation losses: a pruned network is pulled to what its teacher says about the same picture.

Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015), for detectors with
the weighting that dense detection needs: nearly all candidates are background, and those count on
which teacher or student sees a face (compare Lin et al., "Focal loss", ICCV 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from secateur.detectors.balancing import balanced
from secateur.detectors.detection import Distillable


def detector_distillation(
    scores: Tensor,
    teacher_scores: Tensor,
    margins: Mapping[str, Tensor],
    teacher_margins: Mapping[str, Tensor],
    deviations: Mapping[str, Tensor],
    picture_share: float = 0.5,
) -> dict[str, Tensor]:
    """How far a detector is from its teacher, for detectors that share their candidates.

    Each probability p behind a score s is compared by ``sum w KL(p_teacher || p) / n`` with
    ``w = max(s_teacher, s)^2`` (no gradient through w), and each deviation d of boxes or landmarks
    by ``sum s_teacher^2 d / n``, where ``n = sum s_teacher^2`` is the teacher's number of faces.

    Args:
        scores: (B, N) scores of the student in 0..1.
        teacher_scores: (B, N).
        margins: By name, (B, N) logits of the probabilities that make up the student's scores.
        teacher_margins: The same of the teacher.
        deviations: By name, (B, N) how far what the student says of a face is from the teacher's.
        picture_share: In [0, 1], how much of the loss is the mean of what single pictures give,
            in which a lone large face counts as much as a crowd; the rest divides by the faces of
            the whole batch.

    Returns:
        A scalar by the name of each margin and deviation.

    Examples:
        >>> margin = torch.randn(2, 5)
        >>> score, nothing = margin.sigmoid(), torch.zeros(2, 5)
        >>> losses = detector_distillation(
        ...     score, score, {"face": margin}, {"face": margin}, {"box": nothing}
        ... )
        >>> {name: round(float(loss), 6) for name, loss in losses.items()}
        {'face': 0.0, 'box': 0.0}
    """
    faces = teacher_scores.square()
    importance = torch.maximum(faces, scores.detach().square())
    losses = {}
    for name, margin in margins.items():
        divergence = coin_divergence(margin, teacher_margins[name])
        losses[name] = balanced((importance * divergence).sum(1), faces.sum(1), picture_share)
    for name, deviation in deviations.items():
        losses[name] = balanced((faces * deviation).sum(1), faces.sum(1), picture_share)
    return losses


def detector_distances(
    student: Distillable,
    outputs: Sequence[Tensor],
    teacher: Distillable,
    wanted: Sequence[Tensor],
    picture_share: float = 0.5,
    probabilities: float = 1.0,
) -> dict[str, Tensor]:
    """``detector_distillation`` of the raw outputs of two detectors that share their candidates.

    Args:
        student: A detector.
        outputs: Its raw outputs, (B, N, ...) each.
        teacher: Another one whose outputs mean the same.
        wanted: Its raw outputs.
        picture_share: As of ``detector_distillation``.
        probabilities: Weight of the probabilities.

    Returns:
        A scalar by the name of each margin and deviation.
    """
    margins = student.margins(outputs)
    losses = detector_distillation(
        student.scores(outputs),
        teacher.scores(wanted),
        margins,
        teacher.margins(wanted),
        student.deviations(outputs, wanted),
        picture_share,
    )
    return {
        name: probabilities * loss if name in margins else loss for name, loss in losses.items()
    }


def coin_divergence(margins: Tensor, teacher_margins: Tensor) -> Tensor:
    """KL divergence of two coins, from logits, so that a probability near 0 or 1 stays precise.

    Args:
        margins: Logits of the student, of any shape.
        teacher_margins: Logits of the teacher, of the same shape.

    Returns:
        KL(teacher || student), at least 0, of that shape.

    Examples:
        >>> coin_divergence(torch.tensor([0.0, 3.0]), torch.tensor([0.0, 3.0]))
        tensor([0., 0.])
    """
    face, background = functional.logsigmoid(margins), functional.logsigmoid(-margins)
    teacher_face = functional.logsigmoid(teacher_margins)
    teacher_background = functional.logsigmoid(-teacher_margins)
    probability = teacher_margins.sigmoid()
    return probability * (teacher_face - face) + (1 - probability) * (
        teacher_background - background
    )


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
