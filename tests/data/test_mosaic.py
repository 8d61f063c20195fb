"""Mosaics: four items in one, their faces where their pixels are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from secateur.data.annotations import Annotation
from secateur.data.augmentations.face_augmentation import FaceAugmentation
from secateur.data.face_dataset import FaceDataset
from secateur.data.mixed_faces import MixedFaces, Teaching, list_pictures
from secateur.data.mosaic import MosaicFaces, join_in_mosaic
from secateur.errors import InputError


def picture_of(boxes: Tensor, side: int = 64) -> Tensor:
    """A picture that is 1 within the boxes."""
    image = torch.zeros(3, side, side)
    for left, top, right, bottom in (boxes * side).int().tolist():
        image[:, top:bottom, left:right] = 1
    return image


def test_faces_lie_where_their_pixels_are() -> None:
    boxes = [
        torch.tensor(rows, dtype=torch.float32).reshape(-1, 4) / 8
        for rows in ([[1, 2, 5, 6]], [[0, 0, 4, 4], [4, 4, 8, 8]], [], [[2, 1, 7, 7]])
    ]
    image, faces = join_in_mosaic([picture_of(rows) for rows in boxes], boxes)
    assert image.shape == (3, 64, 64)
    assert len(faces) == 4
    assert torch.equal(image, picture_of(faces))


def test_landmarks_move_with_their_faces() -> None:
    rows = torch.rand(1, 19)
    rows[:, :4] = torch.tensor([0.1, 0.1, 0.9, 0.9])
    nothing = torch.zeros(0, 4)  # as pictures without labels have them
    _, faces = join_in_mosaic([torch.zeros(3, 64, 64)] * 4, [nothing, nothing, nothing, rows])
    points, before = faces[0, 4:].view(5, 3), rows[0, 4:].view(5, 3)
    torch.testing.assert_close(points[:, :2], before[:, :2] / 2 + 0.5)
    assert torch.equal(points[:, 2], before[:, 2])


def test_faces_too_small_to_learn_from_are_left_out() -> None:
    small = torch.tensor([[0.0, 0.0, 0.15, 0.15], [0.0, 0.0, 0.5, 0.5]])
    _, faces = join_in_mosaic([torch.zeros(3, 64, 64)] * 4, [small] * 4)
    assert len(faces) == 4


@pytest.fixture
def labeled(tmp_path: Path, annotated: list[Annotation]) -> FaceDataset:
    return FaceDataset(tmp_path, annotated, FaceAugmentation(64, views={"whole": 1.0}), seed=0)


def same(one: Sequence[object], other: Sequence[object]) -> bool:
    return all(
        torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b
        for a, b in zip(one, other, strict=True)
    )


def test_the_share_decides_how_many_items_are_mosaics(labeled: FaceDataset) -> None:
    keys = [(epoch, index) for epoch in range(50) for index in range(2)]
    joined = MosaicFaces(labeled, 0.3, seed=0)
    changed = sum(not same(joined[key], labeled[key]) for key in keys)
    assert 18 <= changed <= 42
    assert all(same(MosaicFaces(labeled, 0.0, seed=0)[key], labeled[key]) for key in keys[:4])
    assert same(joined[3, 1], MosaicFaces(labeled, 0.3, seed=0)[3, 1])


def test_a_mosaic_teaches_what_its_part_that_says_least_teaches(labeled: FaceDataset) -> None:
    files = list_pictures([labeled.folder / "other"])
    items = MixedFaces(labeled, {}, files, 0.5, labeled.augmentation, seed=0)
    joined = MosaicFaces(items, 1.0, seed=0)
    assert len(joined) == 4
    assert joined[0, 3][2] == Teaching.TEACHER
    kinds = {Teaching(int(joined[epoch, 0][2])) for epoch in range(30)}
    assert kinds == {Teaching.BOXES, Teaching.TEACHER}


def test_a_share_out_of_range_is_refused(labeled: FaceDataset) -> None:
    with pytest.raises(InputError, match=r"data.mosaic must be between 0 and 1, got 1\.5"):
        MosaicFaces(labeled, 1.5, seed=0)
