"""Distillation losses against naive loops and by their properties."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from secateur.detectors.anchors import AnchorCache
from secateur.detectors.balancing import balanced
from secateur.detectors.prediction_heads import AnchorDetector
from secateur.recovery.distillation import (
    detector_distillation,
    embedding_distillation,
    logit_distillation,
)


def outputs(seed: int, pictures: int = 2, anchors: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    locations = torch.randn(pictures, anchors, 4, generator=generator)
    return locations, 2 * torch.randn(pictures, anchors, 2, generator=generator)


def distilled(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], picture_share: float = 0.5
) -> list[Tensor]:
    """Losses of locations and of probabilities of a detector with anchors."""
    detector = AnchorDetector(AnchorCache())
    losses = detector_distillation(
        detector.scores(student),
        detector.scores(teacher),
        detector.margins(student),
        detector.margins(teacher),
        detector.deviations(student, teacher),
        picture_share,
    )
    return [losses["location"], losses["probability"]]


def naive(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """The formulas, anchor by anchor, over the faces of the batch."""
    location = probability = count = 0.0
    for b in range(len(student[0])):
        for a in range(student[0].shape[1]):
            p, t = (
                1 / (1 + math.exp(float(logits[b, a, 0] - logits[b, a, 1])))
                for _, logits in (student, teacher)
            )
            kl = t * math.log(t / p) + (1 - t) * math.log((1 - t) / (1 - p))
            probability += max(t, p) ** 2 * kl
            gaps = [abs(float(x)) for x in student[0][b, a] - teacher[0][b, a]]
            location += t**2 * sum(g * g / 2 if g < 1 else g - 0.5 for g in gaps)
            count += t**2
    return location / max(count, 1), probability / max(count, 1)


def test_detector_losses_are_the_formulas() -> None:
    student, teacher = outputs(0), outputs(1)
    found = distilled(student, teacher, picture_share=0.0)
    assert [float(loss) for loss in found] == pytest.approx(naive(student, teacher), rel=1e-5)


def test_a_picture_counts_by_itself_where_pictures_are_averaged() -> None:
    student, teacher = outputs(0), outputs(1)
    alone = [
        naive((student[0][i : i + 1], student[1][i : i + 1]),
              (teacher[0][i : i + 1], teacher[1][i : i + 1]))
        for i in range(2)
    ]  # fmt: skip
    found = distilled(student, teacher, picture_share=1.0)
    expected = [sum(losses) / 2 for losses in zip(*alone, strict=True)]
    assert [float(loss) for loss in found] == pytest.approx(expected, rel=1e-5)


def test_a_detector_equal_to_its_teacher_has_no_gradient() -> None:
    locations, logits = outputs(2)
    locations.requires_grad_()
    logits.requires_grad_()
    losses = distilled((locations, logits), (locations.detach(), logits.detach()))
    (losses[0] + losses[1]).backward()
    for tensor in (locations, logits):
        assert tensor.grad is not None
        assert float(tensor.grad.abs().max()) < 1e-6


def test_certain_logits_give_finite_losses_and_gradients() -> None:
    locations, _ = outputs(3)
    logits = torch.full((2, 7, 2), 0.0)
    logits[..., 1] = 500.0
    student = (-logits).requires_grad_()
    losses = distilled((locations, student), (locations, logits))
    (losses[0] + losses[1]).backward()
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())
    assert losses[1].item() > 100


def test_background_that_neither_sees_as_face_weighs_nothing() -> None:
    locations, _ = outputs(4)
    logits = torch.zeros(2, 7, 2)
    logits[..., 0] = 12.0
    worse = logits.clone()
    worse[..., 0] = 8.0
    assert float(distilled((locations, worse), (locations, logits))[1]) < 1e-6


def test_no_faces_at_all_divide_by_one() -> None:
    assert float(balanced(torch.tensor([0.5, 0.0]), torch.zeros(2), 0.0)) == 0.5


def test_embeddings_are_compared_by_direction_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(3, 8, generator=generator)
    assert float(embedding_distillation(5 * teacher, teacher)) == pytest.approx(0, abs=1e-6)
    assert float(embedding_distillation(-teacher, teacher)) == pytest.approx(2)


def test_logits_are_compared_by_softened_probabilities() -> None:
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    p = 1 / (1 + math.exp(-1 / 2.0))
    expected = 4 * (0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / (1 - p)))
    found = logit_distillation(student, teacher, temperature=2.0)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="above 0"):
        logit_distillation(student, teacher, temperature=0.0)
