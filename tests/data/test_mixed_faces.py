"""Labeled pictures, pictures of another convention and unlabelled ones in one set."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from secateur.data.annotations import Annotation
from secateur.data.augmentations.face_augmentation import FaceAugmentation
from secateur.data.face_dataset import FaceDataset
from secateur.data.mixed_faces import (
    MixedFaces,
    Teaching,
    collate_mixed_faces,
    list_pictures,
    read_conventions,
)
from secateur.errors import InputError


@pytest.fixture
def mixed(tmp_path: Path, annotated: list[Annotation]) -> MixedFaces:
    augmentation = FaceAugmentation(32, views={"whole": 1.0})
    labeled = FaceDataset(tmp_path, annotated, augmentation, seed=0)
    conventions = read_conventions({"b": "presence"})
    files = list_pictures([tmp_path / "other"])
    return MixedFaces(labeled, conventions, files, 0.5, augmentation, seed=0)


def test_unlabelled_pictures_have_their_share_and_teach_nothing(mixed: MixedFaces) -> None:
    assert len(mixed) == 4
    items = [mixed[0, index] for index in range(4)]
    kinds = [Teaching(item[2]).name for item in items]
    assert kinds == ["BOXES", "PRESENCE", "TEACHER", "TEACHER"]
    images, faces, teaching = collate_mixed_faces(items)
    assert images.shape == (4, 3, 32, 32)
    assert [len(boxes) for boxes in faces] == [1, 1, 0, 0]
    assert teaching.tolist() == [2, 1, 0, 0]


def test_items_are_functions_of_epoch_and_index(mixed: MixedFaces) -> None:
    assert torch.equal(mixed[1, 3][0], mixed[1, 3][0])
    assert not torch.equal(mixed[1, 3][0], mixed[2, 3][0])


def test_words_and_folders_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="boxes, presence or teacher"):
        read_conventions({"62--*": "none"})
    with pytest.raises(InputError, match="does not exist"):
        list_pictures([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="holds no picture"):
        list_pictures([tmp_path])
