"""Pictures as users have them: paths, Pillow images, arrays and tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from secateur.data.images import read_image
from secateur.errors import InputError

Picture = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""A path, a Pillow image, (H, W, 3) RGB of uint8, or a tensor (3, H, W) RGB of uint8 or of 0..1."""

Pixels = NDArray[np.uint8]


def as_list(pictures: Picture | Sequence[Picture]) -> tuple[list[Picture], bool]:
    """One picture or several as a list, and whether it was one."""
    if isinstance(pictures, Iterable) and not isinstance(
        pictures, str | Path | Image.Image | np.ndarray | Tensor
    ):
        return list(pictures), False
    return [pictures], True


def to_pixels(picture: Picture) -> Pixels:
    """A picture as (H, W, 3) RGB; files and Pillow images upright, as viewers show them.

    Raises:
        InputError: If a file cannot be read, or an array is of another shape or type.
    """
    if isinstance(picture, str | Path):
        if str(picture).startswith(("http://", "https://")):
            raise InputError(f"{picture} is an address: download the picture and give its path")
        return read_image(picture, apply_exif=True)
    if isinstance(picture, Image.Image):
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"), dtype=np.uint8)
    if isinstance(picture, Tensor):
        return _of_tensor(picture)
    is_array = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3
    if is_array and picture.shape[2] == 3 and picture.size:
        return picture
    raise InputError(
        f"a picture is a path, a Pillow image, an array (H, W, 3) of uint8 in RGB or a tensor "
        f"(3, H, W), and several are a list of these, got {_kind(picture)}"
    )


def _of_tensor(picture: Tensor) -> Pixels:
    """(3, H, W) of uint8, or of floats within 0..1."""
    if picture.ndim != 3 or picture.shape[0] != 3 or not picture.numel():
        raise InputError(f"a picture as a tensor is (3, H, W), got {tuple(picture.shape)}")
    picture = picture.detach().cpu()
    if picture.is_floating_point():
        low, high = (float(value) for value in picture.aminmax())
        if not (low >= 0 and high <= 1):
            raise InputError(
                f"a picture as a tensor of floats is within 0..1, got {low:g} to {high:g}: divide "
                "by 255, or give uint8"
            )
        picture = (picture * 255).round()
    elif picture.dtype != torch.uint8:
        raise InputError(f"a picture as a tensor is of uint8 or of floats, got {picture.dtype}")
    return np.ascontiguousarray(picture.to(torch.uint8).permute(1, 2, 0).numpy())


def _kind(value: object) -> str:
    """What something is, for a message."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    return type(value).__name__
