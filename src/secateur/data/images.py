"""Pictures from files to RGB arrays, truncated and unusual ones included."""

from __future__ import annotations

import io
import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from secateur.errors import InputError

Picture8 = NDArray[np.uint8]
_REMEDY = "replace the file, or take it out of the list"


def read_image(path: str | Path, apply_exif: bool = False) -> Picture8:
    """Read any common picture file as 8-bit RGB.

    Boxes of WIDER FACE are given in stored pixels, so the orientation in EXIF data is not applied
    unless asked for. Transparency is dropped; 16-bit pictures keep their upper 8 bits.

    Args:
        path: JPEG, PNG, BMP, WebP, TIFF, ...
        apply_exif: Turn the picture upright, as viewers show a photograph.

    Returns:
        (H, W, 3) RGB.

    Raises:
        InputError: If the file is missing, truncated or no picture.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): {_REMEDY}") from error
    return decode_image(content, str(path), apply_exif)


def decode_image(content: bytes, name: str, apply_exif: bool = False) -> Picture8:
    """Decode a picture file that is in memory; see `read_image`.

    Args:
        content: The file.
        name: What to call it in a message.
        apply_exif: Turn the picture upright.

    Returns:
        (H, W, 3) RGB.

    Raises:
        InputError: If it is truncated or no picture.
    """
    # OpenCV decodes JPEG twice as fast as Pillow but fills what is cut off with grey and says
    # nothing, so it only gets files that end with the end marker.
    if content.startswith(b"\xff\xd8") and content.rstrip(b"\0\r\n").endswith(b"\xff\xd9"):
        flags = cv2.IMREAD_COLOR_RGB | (0 if apply_exif else cv2.IMREAD_IGNORE_ORIENTATION)
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        if decoded is not None:
            return np.asarray(decoded, dtype=np.uint8)
    return _read_with_pillow(name, content, apply_exif)


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width of the stored picture, from the header alone.

    Raises:
        InputError: If the file is missing or no picture.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except Exception as error:  # Pillow lets struct, syntax and memory errors escape
        raise InputError(f"{path} is not a readable picture ({error}): {_REMEDY}") from error


def shrunk_size(height: int, width: int, max_pixels: int) -> tuple[int, int, float]:
    """Size of a picture after `shrink`, and the factor, at most 1."""
    scale = min(1.0, math.sqrt(max_pixels / (height * width)))
    if scale == 1:
        return height, width, scale
    return max(1, round(height * scale)), max(1, round(width * scale)), scale


def shrink(image: Picture8, max_pixels: int) -> tuple[Picture8, float]:
    """Shrink a picture (H, W, 3) that has more than ``max_pixels``; returns the factor too."""
    height, width, scale = shrunk_size(image.shape[0], image.shape[1], max_pixels)
    if scale == 1:
        return image, scale
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8), scale


def _read_with_pillow(name: str, content: bytes, apply_exif: bool) -> Picture8:
    """Decode with the strict reader."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            upright = ImageOps.exif_transpose(image) if apply_exif else image
            if upright.mode.startswith("I") or upright.mode == "F":
                return _from_deep(np.asarray(upright))
            return np.array(upright.convert("RGB"), dtype=np.uint8)
    except Exception as error:  # Pillow lets struct, syntax and memory errors escape
        raise InputError(
            f"{name} is not a readable picture, perhaps cut short ({error}): {_REMEDY}"
        ) from error


def _from_deep(gray: NDArray[np.generic]) -> Picture8:
    """16-bit grey (H, W) to RGB; 32-bit and float pictures hold 0..255 or 0..65535."""
    values = gray.astype(np.float64)
    if gray.dtype.itemsize == 2 or values.max() > 255:
        values = values // 256
    return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
