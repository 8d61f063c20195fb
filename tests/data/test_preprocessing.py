"""Pre-processing against the golden tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from secateur.data.preprocessing import BGR, MEAN, RGB_MINUS_MEAN, Preprocessing


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


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (31, 33)])
@pytest.mark.parametrize(
    "preprocessing",
    [RGB_MINUS_MEAN, BGR, Preprocessing("bgr", (127.5, 127.5, 127.5), 1 / 128)],
)
def test_every_value_is_the_float32_of_its_formula(
    preprocessing: Preprocessing, shape: tuple[int, int]
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    centered = picture.astype(np.float32) - np.array(preprocessing.mean, np.float32)
    expected = (centered * np.float32(preprocessing.scale)).transpose(2, 0, 1)
    if preprocessing.order == "bgr":
        expected = expected[::-1]
    assert np.array_equal(preprocessing(picture).numpy(), expected)


def test_golden_input(reference: Path) -> None:
    with np.load(reference / "golden/forward/inputs_320.npz") as golden:
        assert np.array_equal(
            RGB_MINUS_MEAN(golden["img0_u8"])[None].numpy(), golden["img0_tensor"]
        )


@pytest.mark.parametrize(
    "own", [RGB_MINUS_MEAN, BGR, Preprocessing("bgr", (10.0, 20.0, 30.0), 0.5)]
)
@pytest.mark.parametrize("other", [RGB_MINUS_MEAN, BGR])
def test_inputs_of_one_network_become_those_of_another(
    own: Preprocessing, other: Preprocessing
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    found = own.convert(own(picture)[None], other)[0]
    torch.testing.assert_close(found, other(picture), atol=1e-4, rtol=0)
