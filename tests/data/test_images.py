"""Pictures of every kind become (H, W, 3) RGB, or one clear sentence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from secateur.data.images import read_image, read_size, shrink, shrunk_size
from secateur.errors import InputError


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    """A smooth colour picture (40, 60, 3)."""
    small = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (60, 40), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tiff"])
def test_lossless_formats(tmp_path: Path, picture: NDArray[np.uint8], suffix: str) -> None:
    Image.fromarray(picture).save(tmp_path / f"a.{suffix}", lossless=True)
    read = read_image(tmp_path / f"a.{suffix}")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, picture)


def test_jpeg_is_rgb_and_like_pillow(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    Image.fromarray(picture).save(tmp_path / "a.jpg", quality=95)
    expected = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB")).astype(int)
    assert abs(read_image(tmp_path / "a.jpg").astype(int) - expected).max() <= 3


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "jpg"), ("L", "png"), ("1", "png"), ("P", "png"), ("LA", "png"), ("RGBA", "png")],
)
def test_other_modes(tmp_path: Path, picture: NDArray[np.uint8], mode: str, suffix: str) -> None:
    image = Image.fromarray(picture).convert(mode)
    image.save(tmp_path / f"a.{suffix}")
    read = read_image(tmp_path / f"a.{suffix}").astype(int)
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert read.shape == (40, 60, 3)
    assert abs(read - expected).max() <= (6 if suffix == "jpg" else 0)


def test_cmyk(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    expected = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB")).astype(int)
    assert abs(read_image(tmp_path / "a.jpg").astype(int) - expected).mean() < 3


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    deep = np.linspace(0, 65_535, 12, dtype=np.uint16).reshape(3, 4)
    cv2.imwrite(str(tmp_path / "grey.png"), deep)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png")[..., 1], deep >> 8)
    cv2.imwrite(str(tmp_path / "grey.tiff"), deep)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.tiff")[..., 1], deep >> 8)
    color = np.stack([deep, deep[::-1], deep * 0], axis=2)
    cv2.imwrite(str(tmp_path / "colour.png"), color)
    np.testing.assert_array_equal(read_image(tmp_path / "colour.png"), color[..., ::-1] >> 8)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_one_pixel(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (1, 1), (200, 100, 50)).save(tmp_path / f"a.{suffix}", quality=100)
    read = read_image(tmp_path / f"a.{suffix}")
    assert read.shape == (1, 1, 3)
    assert abs(read[0, 0].astype(int) - [200, 100, 50]).max() <= 3
    assert read_size(tmp_path / f"a.{suffix}") == (1, 1)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_orientation_only_when_asked_for(
    tmp_path: Path, picture: NDArray[np.uint8], suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise shows it upright
    Image.fromarray(picture).save(tmp_path / f"a.{suffix}", exif=exif, quality=95)
    stored = read_image(tmp_path / f"a.{suffix}")
    assert stored.shape == (40, 60, 3)
    assert read_size(tmp_path / f"a.{suffix}") == (40, 60)
    turned = read_image(tmp_path / f"a.{suffix}", apply_exif=True)
    np.testing.assert_array_equal(turned, np.rot90(stored, -1))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp"])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_truncated_is_an_error(
    tmp_path: Path, picture: NDArray[np.uint8], suffix: str, share: float
) -> None:
    noisy = np.random.default_rng(1).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    Image.fromarray(noisy).save(tmp_path / f"a.{suffix}")
    content = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"b.{suffix}").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=rf"b.{suffix} is not a readable picture"):
        read_image(tmp_path / f"b.{suffix}")


@pytest.mark.parametrize("missing", [1, 2, 10, 200])
def test_jpeg_short_of_a_few_bytes(tmp_path: Path, missing: int) -> None:
    noisy = np.random.default_rng(1).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    Image.fromarray(noisy).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-missing])
    try:
        read = read_image(tmp_path / "b.jpg")
    except InputError:
        return
    # All pixels were there: only the end marker is missing, which Pillow forgives.
    assert missing <= 2
    np.testing.assert_array_equal(read.shape, (50, 50, 3))


def test_jpeg_with_bytes_after_its_end(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    Image.fromarray(picture).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes() + b"\0\0camera data")
    one, two = read_image(tmp_path / "a.jpg"), read_image(tmp_path / "b.jpg")
    assert abs(one.astype(int) - two.astype(int)).max() <= 3


def test_no_picture(tmp_path: Path) -> None:
    for name, content in (
        ("empty.jpg", b""),
        ("text.png", b"hello"),
        ("ff.jpg", b"\xff\xd8\xff\xd9"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name} is not a readable picture"):
            read_image(tmp_path / name)
        with pytest.raises(InputError, match=f"{name} is not a readable picture"):
            read_size(tmp_path / name)
    with pytest.raises(InputError, match="it is empty"):
        read_image(tmp_path / "empty.jpg")
    with pytest.raises(InputError, match=r"none.jpg cannot be read \(No such file"):
        read_image(tmp_path / "none.jpg")


def test_shrinking_caps_the_pixels() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    same, scale = shrink(image, 120_000)
    assert same is image
    assert scale == 1
    small, scale = shrink(image, 30_000)
    assert small.shape == (150, 200, 3)
    assert scale == pytest.approx(0.5)
    assert shrunk_size(1, 4_000_000, 2_040_000)[:2] == (1, round(4_000_000 * 0.51**0.5))


def test_real_pictures_like_pillow(reference: Path) -> None:
    folder = reference / "data" / "widerface_mini" / "WIDER_val" / "images" / "0--Parade"
    for path in sorted(folder.iterdir())[:4]:
        expected = np.asarray(Image.open(path).convert("RGB"))
        difference = abs(read_image(path).astype(int) - expected.astype(int))
        assert difference.max() <= 3
        assert read_size(path) == expected.shape[:2]
