"""Datasets: items by (epoch, index), pictures with what is evaluated on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from secateur.data.annotations import Annotation, read_annotations
from secateur.data.augmentations.face_augmentation import FaceAugmentation
from secateur.data.face_dataset import (
    SETTINGS,
    FaceDataset,
    FacePictures,
    collate_faces,
    collate_pictures,
)
from secateur.data.ground_truth import GroundTruth, read_ground_truth
from secateur.data.preprocessing import RGB_MINUS_MEAN
from secateur.errors import InputError
from secateur.metrics import wider_face

AUGMENT = FaceAugmentation(input_size=48)


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures 0.png (100 x 80), 1.png and 2.png (60 x 60) of one event."""
    (tmp_path / "e").mkdir()
    generator = np.random.default_rng(0)
    for index, (width, height) in enumerate([(100, 80), (60, 60), (60, 60)]):
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "e" / f"{index}.png")
    return tmp_path


@pytest.fixture
def annotations() -> list[Annotation]:
    return [
        Annotation("e/0.png", boxes((10, 10, 30, 40), (60, 20, 20, 20))),
        Annotation("e/1.png", boxes()),
        Annotation("e/2.png", boxes((5, 5, 40, 50))),
    ]


def test_settings_have_the_order_of_the_metric() -> None:
    assert SETTINGS == wider_face.SETTINGS


def test_item(folder: Path, annotations: list[Annotation]) -> None:
    dataset = FaceDataset(folder, annotations, AUGMENT, seed=0)
    assert len(dataset) == 2  # the picture without faces is passed over
    image, faces = dataset[0, 1]
    assert image.shape == (3, 48, 48)
    assert image.dtype == faces.dtype == torch.float32
    assert faces.shape[1] == 4
    assert len(faces) >= 1
    assert ((faces >= 0) & (faces <= 1)).all()


def test_item_depends_on_seed_epoch_and_index(folder: Path, annotations: list[Annotation]) -> None:
    dataset = FaceDataset(folder, annotations, AUGMENT, seed=0)
    again = FaceDataset(folder, annotations, FaceAugmentation(input_size=48), seed=0)
    other = FaceDataset(folder, annotations, AUGMENT, seed=1)
    keys = [(epoch, index) for epoch in range(3) for index in range(2)]
    images = {key: dataset[key][0] for key in keys}
    for key in reversed(keys):  # also independent of the order of access
        assert torch.equal(again[key][0], images[key])
        assert not torch.equal(other[key][0], images[key])
    assert len({image.numpy().tobytes() for image in images.values()}) == len(keys)


def test_picture_without_a_usable_face_is_replaced(folder: Path) -> None:
    beyond = Annotation("e/0.png", boxes((200, 200, 20, 20)))
    good = Annotation("e/2.png", boxes((5, 5, 40, 50)))
    dataset = FaceDataset(folder, [beyond, good], AUGMENT, seed=0)
    for epoch in range(5):
        assert len(dataset[epoch, 0][1]) >= 1
    hopeless = FaceDataset(folder, [beyond], AUGMENT, seed=0)
    with pytest.raises(InputError, match=r"e/0.png and 9 other pictures .* check the boxes"):
        hopeless[0, 0]


def test_nothing_to_train_on(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no picture of .* has a face"):
        FaceDataset(folder, [Annotation("e/1.png", boxes())], AUGMENT, seed=0)


def test_truncated_picture_is_named(folder: Path, annotations: list[Annotation]) -> None:
    path = folder / "e" / "2.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"2.png is not a readable picture"):
        FaceDataset(folder, annotations, AUGMENT, seed=0)[0, 1]
    with pytest.raises(InputError, match=r"2.png is not a readable picture"):
        FacePictures(folder, annotations)[2]


def test_unlisted_picture(folder: Path) -> None:
    annotations = [Annotation("e/0.png", boxes((10, 10, 30, 40), (60, 20, 0, 20)))]
    picture = FacePictures(folder, annotations)[0]
    assert picture.image.shape == (3, 80, 100)
    assert torch.equal(picture.image, RGB_MINUS_MEAN(np.array(Image.open(folder / "e" / "0.png"))))
    assert picture.scale == 1
    assert picture.participates.tolist() == [False, False, False, True]
    assert picture.evaluated.tolist() == [[False] * 2] * 3 + [[True, False]]  # no area, no face


def test_listed_picture_takes_the_official_boxes(
    folder: Path, annotations: list[Annotation]
) -> None:
    official = np.array([[1.0, 2, 3, 4], [5, 6, 0, 8], [9, 10, 11, 12]])
    masks = np.array([[True, False, False], [True, True, False], [True, True, True]])
    truth = GroundTruth({"e/2.png": official}, {"e/2.png": masks})
    pictures = FacePictures(folder, annotations, truth)
    assert pictures.n_listed == 1
    picture = pictures[2]
    assert picture.faces.tolist() == official.tolist()
    assert picture.participates.tolist() == [True, True, True, False]
    assert picture.evaluated.tolist() == [*masks.tolist(), [False] * 3]
    assert pictures[1].faces.shape == (0, 4)
    assert pictures[1].evaluated.shape == (4, 0)


def test_large_pictures_are_shrunk_and_boxes_kept(
    folder: Path, annotations: list[Annotation]
) -> None:
    pictures = FacePictures(folder, annotations, max_pixels=2000)
    assert pictures.sizes() == [(40, 50), (45, 45), (45, 45)]
    picture = pictures[0]
    assert picture.image.shape == (3, 40, 50)
    assert picture.scale == pytest.approx(0.5)
    assert picture.faces[0].tolist() == [10, 10, 30, 40]
    rows = torch.tensor([[0.1, 0.125, 0.4, 0.625, 0.9]])
    torch.testing.assert_close(
        picture.to_pixels(rows), torch.tensor([[10.0, 10.0, 40.0, 50.0, 0.9]])
    )
    assert picture.to_pixels(rows[:0]).shape == (0, 5)


def test_collating(folder: Path, annotations: list[Annotation]) -> None:
    dataset = FaceDataset(folder, annotations, AUGMENT, seed=0)
    images, faces = collate_faces([dataset[0, 0], dataset[0, 1]])
    assert images.shape == (2, 3, 48, 48)
    assert [face.shape[1] for face in faces] == [4, 4]
    pictures = FacePictures(folder, annotations)
    assert [p.name for p in collate_pictures([pictures[1], pictures[2]])] == ["e/1.png", "e/2.png"]


def test_real_pictures(reference: Path) -> None:
    root = reference / "data" / "widerface_mini"
    annotations = read_annotations(root / "wider_face_split" / "wider_face_val_bbx_gt.txt")
    truth = read_ground_truth(root / "ground_truth")
    pictures = FacePictures(root / "WIDER_val" / "images", annotations, truth)
    assert (len(pictures), pictures.n_listed) == (116, 16)
    sizes = pictures.sizes()
    for index in (0, 20, 115):
        picture = pictures[index]
        assert tuple(picture.image.shape[1:]) == sizes[index]
        assert picture.faces.shape[0] == picture.evaluated.shape[1]
        assert picture.participates.tolist() == (
            [True] * 3 + [False] if picture.name in truth.boxes else [False] * 3 + [True]
        )
