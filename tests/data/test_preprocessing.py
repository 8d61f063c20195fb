"""Pre-processing against the golden tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from secateur.data.preprocessing import MEAN, RGB_MINUS_MEAN


def test_mean_leaves_and_channels_come_first() -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    image = RGB_MINUS_MEAN(picture)
    assert image.is_contiguous()
    assert image.dtype == torch.float32
    expected = picture.astype(np.float32) - np.array(MEAN, np.float32)
    assert np.array_equal(image.numpy(), expected.transpose(2, 0, 1))


def test_strided_and_read_only_pictures_are_taken() -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    flipped = picture[:, ::-1]
    flipped.flags.writeable = False
    assert torch.equal(RGB_MINUS_MEAN(flipped), RGB_MINUS_MEAN(picture).flip(2))


def test_golden_input(reference: Path) -> None:
    with np.load(reference / "golden/forward/inputs_320.npz") as golden:
        assert np.array_equal(
            RGB_MINUS_MEAN(golden["img0_u8"])[None].numpy(), golden["img0_tensor"]
        )
