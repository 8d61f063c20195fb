"""From a picture of one face to the square that a recogniser takes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from secateur.data.images import Picture8
from secateur.errors import InputError

MEAN = (123.675, 116.28, 103.53)
SCALE = (58.395, 57.12, 57.375)
"""Subtracted and divided by: of ImageNet, because the networks start from weights made with it."""

_PUBLISHED_SIZE, _PUBLISHED_SHORTER_SIDE = 113, 129

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""


@dataclass(frozen=True, slots=True)
class SquareCut:
    """Resize to a shorter side, cut a square out: at random and mirrored, or from the middle.

    Args:
        size: Side of the square in pixels.
        shorter_side: Shorter side of the resized picture; None keeps the published proportion
            of 129 to 113.

    Raises:
        InputError: If the square does not fit.
    """

    size: int
    shorter_side: int | None = None

    def __post_init__(self) -> None:
        """Refuse impossible sizes."""
        if self.size < 1 or self.side < self.size:
            raise InputError(
                f"data.input_size={self.size} does not fit data.shorter_side={self.side}: "
                "the shorter side must be at least the input size"
            )

    @property
    def side(self) -> int:
        """Shorter side of the resized picture."""
        if self.shorter_side is not None:
            return self.shorter_side
        return round(self.size * _PUBLISHED_SHORTER_SIDE / _PUBLISHED_SIZE)

    def middle(self, image: Picture8) -> Tensor:
        """The middle of a picture (H, W, 3) as an input (3, S, S)."""
        resized = resize_shorter(image, self.side)
        top, left = (resized.shape[0] - self.size) // 2, (resized.shape[1] - self.size) // 2
        return to_input(resized[top : top + self.size, left : left + self.size])

    def random(self, image: Picture8, generator: np.random.Generator) -> Tensor:
        """A random part of a picture (H, W, 3), mirrored half the time, as an input (3, S, S)."""
        resized = resize_shorter(image, self.side)
        top = int(generator.integers(resized.shape[0] - self.size + 1))
        left = int(generator.integers(resized.shape[1] - self.size + 1))
        cut = resized[top : top + self.size, left : left + self.size]
        return to_input(cut[:, ::-1] if generator.random() < 0.5 else cut)


def crop_face(image: Picture8, box: Box, enlarge: float = 0.3) -> Picture8:
    """Cut out a face with some surroundings, as far as the picture reaches.

    Args:
        image: (H, W, 3).
        box: Box of the face.
        enlarge: How much wider and higher than the box the cut is.

    Returns:
        A view of at least one pixel.
    """
    x, y, width, height = box
    more_x, more_y = width * enlarge / 2, height * enlarge / 2
    left = int(np.clip(round(x - more_x), 0, image.shape[1] - 1))
    top = int(np.clip(round(y - more_y), 0, image.shape[0] - 1))
    right = int(np.clip(round(x + width + more_x), left + 1, image.shape[1]))
    bottom = int(np.clip(round(y + height + more_y), top + 1, image.shape[0]))
    return image[top:bottom, left:right]


def crop_center(image: Picture8, share: float) -> Picture8:
    """The central square whose side is a share of the shorter side; 1 leaves the picture whole."""
    if share >= 1:
        return image
    height, width = image.shape[:2]
    side = max(1, round(min(height, width) * share))
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def resize_shorter(image: Picture8, side: int) -> Picture8:
    """Resize (H, W, 3) so that its shorter side has that many pixels; proportions stay."""
    height, width = image.shape[:2]
    scale = side / min(height, width)
    size = max(side, round(width * scale)), max(side, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)


def to_input(rgb: Picture8) -> Tensor:
    """Normalise (H, W, 3) and put channels first: (3, H, W) float32."""
    pixels = torch.from_numpy(np.require(rgb, requirements=["C", "W"])).permute(2, 0, 1)
    image = pixels.to(torch.float32, memory_format=torch.contiguous_format)
    return image.sub_(torch.tensor(MEAN)[:, None, None]).div_(torch.tensor(SCALE)[:, None, None])
