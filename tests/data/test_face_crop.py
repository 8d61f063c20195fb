from __future__ import annotations

import numpy as np
import pytest
import torch

from secateur.data.face_crop import MEAN, SCALE, SquareCut, crop_face, resize_shorter, to_input
from secateur.errors import InputError


def test_shorter_side_is_129_for_113() -> None:
    assert SquareCut(113).side == 129
    assert resize_shorter(np.zeros((200, 300, 3), np.uint8), 129).shape == (129, 194, 3)
    assert resize_shorter(np.zeros((300, 20, 3), np.uint8), 129).shape == (1935, 129, 3)


def test_middle_is_the_middle() -> None:
    image = np.zeros((129, 129, 3), np.uint8)
    image[8:121, 8:121] = 200
    expected = (200 - torch.tensor(MEAN)) / torch.tensor(SCALE)
    found = SquareCut(113).middle(image)
    assert found.shape == (3, 113, 113)
    torch.testing.assert_close(found, expected[:, None, None].expand(3, 113, 113))


def test_random_cuts_reach_every_corner_and_are_mirrored() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    cut = SquareCut(5, 6)
    expected = {
        to_input(part).numpy().tobytes()
        for top in (0, 1)
        for left in (0, 1)
        for part in [image[top : top + 5, left : left + 5]]
        for part in (part, part[:, ::-1])
    }
    generator = np.random.default_rng(1)
    found = {cut.random(image, generator).numpy().tobytes() for _ in range(200)}
    assert found == expected


def test_cut_must_fit() -> None:
    with pytest.raises(InputError, match=r"data.input_size=113 does not fit"):
        SquareCut(113, 100)


def test_boxes_beyond_the_border_are_clipped() -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    assert crop_face(image, (-10, -10, 40, 40), 0.5).shape == (40, 40, 3)
    assert crop_face(image, (80, 80, 10, 10)).shape == (1, 1, 3)
    assert crop_face(image, (10, 10, 0, 0)).shape == (1, 1, 3)
