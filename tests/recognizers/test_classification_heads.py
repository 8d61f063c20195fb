from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from secateur.errors import InputError
from secateur.recognizers.classification_heads import (
    MarginHead,
    SoftmaxHead,
    arcface_logits,
    cosface_logits,
    make_head,
)


def test_arcface_adds_the_angle() -> None:
    angles = torch.linspace(0, math.pi - 0.5, 20, dtype=torch.float64)
    cosine = torch.stack([angles.cos(), torch.full_like(angles, 0.1)], dim=1)
    found = arcface_logits(cosine, torch.zeros(20, dtype=torch.long), 0.5)
    torch.testing.assert_close(found[:, 0], (angles + 0.5).cos(), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[:, 1], cosine[:, 1])


def test_arcface_falls_over_all_angles() -> None:
    angles = torch.linspace(0, math.pi, 200, dtype=torch.float64)
    found = arcface_logits(angles.cos()[:, None], torch.zeros(200, dtype=torch.long), 0.5)[:, 0]
    # beyond pi - margin there is a step down, never one up
    assert bool((found.diff() < 0).all())


def test_arcface_has_a_finite_gradient_at_a_perfect_embedding() -> None:
    cosine = torch.ones(1, 1, requires_grad=True)
    arcface_logits(cosine, torch.tensor([0]), 0.5).sum().backward()
    assert cosine.grad is not None
    assert torch.isfinite(cosine.grad).all()


def test_cosface_subtracts_from_the_true_identity_alone() -> None:
    cosine = torch.rand(5, 7)
    identity = torch.tensor([0, 6, 3, 3, 1])
    found = cosface_logits(cosine, identity, 0.35)
    expected = cosine.clone()
    for row, column in enumerate(identity.tolist()):
        expected[row, column] -= 0.35
    torch.testing.assert_close(found, expected)


def test_margin_head_scales_cosines_and_predicts_without_margin() -> None:
    head = make_head("cosface", 8, 5, scale=10.0)
    assert isinstance(head, MarginHead)
    embeddings = torch.randn(3, 8) * 100
    cosine = normalize(embeddings) @ normalize(head.weight).T
    torch.testing.assert_close(head(embeddings), cosine * 10)
    harder = head(embeddings, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(head(embeddings).diag() - harder.diag(), torch.full((3,), 3.5))


def test_softmax_head_starts_undecided() -> None:
    head = make_head("softmax", 1000, 40)
    assert isinstance(head, SoftmaxHead)
    probabilities = head(torch.rand(4, 1000), torch.zeros(4, dtype=torch.long)).softmax(1)
    assert probabilities.max() < 0.1


def test_unknown_head_is_refused() -> None:
    with pytest.raises(InputError, match="choose softmax, arcface or cosface"):
        make_head("sphere", 8, 5)  # type: ignore[arg-type]
