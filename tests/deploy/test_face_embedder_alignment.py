"""Faces aligned by landmarks before they are embedded."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from secateur.data.face_alignment import TEMPLATE
from secateur.data.face_crop import to_input
from secateur.deploy.description import FaceCut
from secateur.deploy.face_detector import FaceDetector, Faces
from secateur.deploy.face_embedder import FaceEmbedder
from secateur.errors import InputError


class Detector:
    """Tells one face, with landmarks or without."""

    name = "fake"

    def __init__(self, landmarks: bool) -> None:
        self.landmarks = TEMPLATE[None].astype(np.float32) + 20 if landmarks else None

    def __call__(self, pixels: Any) -> Faces:
        boxes = np.array([[20.0, 20, 132, 132]], np.float32)
        return Faces(boxes, np.ones(1, np.float32), self.landmarks)


def embedder() -> tuple[FaceEmbedder, list[torch.Tensor]]:
    seen: list[torch.Tensor] = []

    def embed(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return images.flatten(1)

    cut = FaceCut(side=112, shorter_side=112, center=1.0, flip=False)
    return FaceEmbedder(embed, cut, name="fake", backend="torch"), seen


def test_landmarks_lie_on_the_template() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    embed, seen = embedder()
    embed(picture, detector=cast("FaceDetector", Detector(landmarks=True)), align=True)
    assert torch.equal(seen[0][0], to_input(picture[20:132, 20:132]))


def test_alignment_without_landmarks_is_refused() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    embed, _ = embedder()
    with pytest.raises(InputError, match="tells no landmarks"):
        embed(picture, detector=cast("FaceDetector", Detector(landmarks=False)), align=True)
    with pytest.raises(InputError, match="align=true needs a detector"):
        embed(picture, align=True)
