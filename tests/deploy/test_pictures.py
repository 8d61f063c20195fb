from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from secateur.data.face_crop import to_input
from secateur.deploy.description import PixelFormat
from secateur.deploy.exported import ExportedFaces
from secateur.deploy.pictures import as_list, to_pixels
from secateur.deploy.pixels import preprocess
from secateur.errors import InputError


def test_all_forms_of_a_picture_are_the_same_pixels(
    picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    channels_first = torch.from_numpy(picture).permute(2, 0, 1)
    forms = [path, str(path), Image.open(path), picture, channels_first, channels_first / 255]
    for form in forms:
        assert np.array_equal(to_pixels(form), picture)
        assert as_list(form) == ([form], True) or isinstance(form, np.ndarray | torch.Tensor)
    assert as_list([path, picture])[1] is False


def test_photograph_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    Image.new("RGB", (40, 20)).save(tmp_path / "photo.jpg", exif=exif)
    assert to_pixels(tmp_path / "photo.jpg").shape == (40, 20, 3)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("https://example.org/a.jpg", "is an address"),
        ("nowhere.jpg", "cannot be read|does not exist"),
        (np.zeros((4, 4)), r"an array \(4, 4\) of float64"),
        (np.zeros((4, 4, 4), np.uint8), "an array"),
        (torch.zeros(4, 4), r"is \(3, H, W\)"),
        (torch.full((3, 4, 4), 200.0), "within 0..1"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "uint8 or of floats"),
        (np.zeros((2, 4, 4, 3), np.uint8), "several are a list of these, got an array"),
        (None, "several are a list of these, got NoneType"),
    ],
)
def test_what_is_no_picture_is_refused(picture: object, message: str) -> None:
    (listed,), _ = as_list(picture)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        to_pixels(listed)


def test_an_array_that_must_not_be_changed_is_taken_without_a_warning(
    picture: NDArray[np.uint8], recwarn: pytest.WarningsRecorder
) -> None:
    fixed = np.asarray(Image.fromarray(picture))
    assert not fixed.flags.writeable
    inputs = (
        ExportedFaces.preprocessing(fixed),
        preprocess(fixed, PixelFormat()),
        to_input(fixed),
    )
    assert [tuple(each.shape) for each in inputs] == [(97, 131, 3), (1, 3, 97, 131), (3, 97, 131)]
    assert not recwarn
