"""Pictures from files to RGB arrays, truncated and unusual ones included."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from secateur.errors import InputError
from secateur.readers import MEBI, open_regular, read_bytes

Picture8 = NDArray[np.uint8]
MOST_PIXELS = 64_000_000
_MOST_BYTES = 256 * MEBI
_REMEDY = "replace the file, or take it out of the list"
_UNKNOWN = "(of no kind that is known here): make a JPEG of it, or take it out of the list"
# Pillow knows more, among them EPS, for which it starts another program.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
# An 8 x 8 block takes at least a bit in each of its scans, so more pixels than these per byte are
# a file of some hundred bytes that wants gigabytes and minutes.
_PIXELS_PER_BYTE, _PIXELS_FREE = 512, 1 << 20
_MOST_PIXELS_IN_SCANS = 10 * MOST_PIXELS  # a progressive file decodes every pixel once per scan


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
    return decode_image(read_bytes(path, _REMEDY, _MOST_BYTES), str(path), apply_exif)


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
    if content.startswith(b"\xff\xd8"):
        _check_jpeg(content, name)
        if content.rstrip(b"\0\r\n").endswith(b"\xff\xd9"):
            flags = cv2.IMREAD_COLOR_RGB | (0 if apply_exif else cv2.IMREAD_IGNORE_ORIENTATION)
            try:
                decoded = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
            except cv2.error:  # what it refuses, Pillow can tell about
                decoded = None
            if decoded is not None:
                return np.asarray(decoded, dtype=np.uint8)
    return _read_with_pillow(name, content, apply_exif)


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width of the stored picture, from the header alone.

    Raises:
        InputError: If the file is missing, no picture, or declares too many pixels.
    """
    try:
        with open_regular(path) as file, Image.open(file, formats=_FORMATS) as image:
            _check_size(str(path), image.height, image.width)
            return image.height, image.width
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path} is not a readable picture {_UNKNOWN}") from None
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
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            _check_size(name, image.height, image.width)
            image.load()
            upright = ImageOps.exif_transpose(image) if apply_exif else image
            if upright.mode.startswith("I") or upright.mode == "F":
                return _from_deep(np.asarray(upright))
            return np.array(upright.convert("RGB"), dtype=np.uint8)
    except InputError:
        raise
    except UnidentifiedImageError:
        if not content:
            raise InputError(f"{name} is not a readable picture (it is empty): {_REMEDY}") from None
        raise InputError(f"{name} is not a readable picture {_UNKNOWN}") from None
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


def _check_size(name: str, height: int, width: int) -> None:
    """Refuse a picture before it is decoded that would not fit.

    Raises:
        InputError: If it declares more pixels than `MOST_PIXELS`, or none.
    """
    if height < 1 or width < 1:
        raise InputError(f"{name} declares {width} x {height} pixels: {_REMEDY}")
    if height * width > MOST_PIXELS:
        raise InputError(
            f"{name} declares {width:,} x {height:,} pixels, and at most {MOST_PIXELS:,} are "
            "read: shrink the picture, or take it out of the list"
        )


def _check_jpeg(content: bytes, name: str) -> None:
    """Refuse a JPEG whose declared size is out of proportion to its bytes.

    Raises:
        InputError: If so.
    """
    found = _jpeg_frame(content)
    if found is None:
        return  # the decoders say what is wrong with it
    height, width, one_scan = found
    _check_size(name, height, width)
    pixels = height * width
    # within a scan the byte 0xff is always followed by zero, so this counts scans and thumbnails
    scans = 1 if one_scan else max(1, content.count(b"\xff\xda"))
    too_empty = pixels > _PIXELS_PER_BYTE * len(content) + _PIXELS_FREE
    if too_empty or pixels * scans > _MOST_PIXELS_IN_SCANS:
        raise InputError(
            f"{name} declares {width:,} x {height:,} pixels in {scans:,} scans, which its "
            f"{len(content):,} bytes cannot hold: {_REMEDY}"
        )


def _jpeg_frame(content: bytes) -> tuple[int, int, bool] | None:
    """Height and width that a JPEG declares, and whether its first scan is all there is.

    Returns:
        The largest frame, or None if there is none.
    """
    position, height, width, one_scan, components = 2, 0, 0, False, 0
    while position + 9 < len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:  # filling
            position += 1
            continue
        if marker == 0xDA:
            one_scan = one_scan and content[position + 4] == components
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = struct.unpack_from(">HH", content, position + 5)
            height, width = max((height, width), frame, key=math.prod)
            one_scan, components = marker in (0xC0, 0xC1), content[position + 9]
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without content
            position += 2
            continue
        position += 2 + int.from_bytes(content[position + 2 : position + 4])
    return (height, width, one_scan) if height and width else None
