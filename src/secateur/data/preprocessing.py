"""Preprocessing: from a picture to what a network takes; it travels with the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

MEAN = (123.0, 117.0, 104.0)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a network sees a picture: (pixels - mean) * scale, channels first, sides padded.

    Attributes:
        order: Order of the channels that the network takes.
        mean: Red, green and blue that are subtracted from values in 0..255.
        scale: What the difference is multiplied by.
        multiple: Sides must be multiples of this; black is added at the right and at the bottom.
    """

    order: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = MEAN
    scale: float = 1.0
    multiple: int = 1

    def __call__(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Make the input of one picture; nothing is padded.

        Args:
            rgb: (H, W, 3) picture, 0..255.

        Returns:
            (3, H, W) float32.

        Examples:
            >>> Preprocessing()(np.zeros((1, 1, 3), np.uint8)).flatten().tolist()
            [-123.0, -117.0, -104.0]
        """
        image = np.empty((3, *rgb.shape[:2]), np.float32)
        every_byte = np.arange(256, dtype=np.float32)
        # OpenCV takes channels apart three times as fast as a transposing copy does, and looks a
        # byte up faster than numpy converts it
        for channel, plane in enumerate(cv2.split(np.ascontiguousarray(rgb))):
            target = channel if self.order == "rgb" else 2 - channel
            values = (every_byte - np.float32(self.mean[channel])) * np.float32(self.scale)
            cv2.LUT(plane, values[None], dst=image[target])
        return torch.from_numpy(image)

    def restore(self, image: Tensor) -> NDArray[np.uint8]:
        """The picture (H, W, 3) of an input (3, H, W)."""
        channels = image.cpu() if self.order == "rgb" else image.cpu().flip(0)
        pixels = channels.permute(1, 2, 0) / self.scale + torch.tensor(self.mean)
        restored: NDArray[np.uint8] = pixels.round().clamp(0, 255).to(torch.uint8).numpy()
        return restored

    def convert(self, images: Tensor, other: Preprocessing) -> Tensor:
        """The inputs of another network for the same pictures.

        Args:
            images: (B, 3, H, W) inputs of this preprocessing, unpadded or padded.
            other: That of the other network.

        Returns:
            (B, 3, H, W) as the other takes them; the same tensor where both see pictures alike.

        Examples:
            >>> red = torch.tensor([132.0, -117.0, -104.0]).view(1, 3, 1, 1)
            >>> Preprocessing().convert(red, BGR).flatten().tolist()
            [0.0, 0.0, 255.0]
        """
        if (self.order, self.mean, self.scale) == (other.order, other.mean, other.scale):
            return images

        def shaped(values: tuple[float, float, float]) -> Tensor:
            return torch.tensor(values).to(images)[:, None, None]

        rgb = images if self.order == "rgb" else images.flip(1)
        rgb = (rgb / self.scale + shaped(self.mean) - shaped(other.mean)) * other.scale
        return rgb if other.order == "rgb" else rgb.flip(1)

    def pad(self, images: Tensor) -> Tensor:
        """Add black at the right and at the bottom until ``multiple`` divides both sides.

        Args:
            images: (B, 3, H, W) inputs.

        Returns:
            (B, 3, H', W'); the same tensor where nothing is to be added.
        """
        height, width = images.shape[-2:]
        bottom, right = -height % self.multiple, -width % self.multiple
        if bottom == right == 0:
            return images
        if not any(self.mean):
            return functional.pad(images, (0, right, 0, bottom))
        black = -torch.tensor(self.mean) * self.scale
        black = black if self.order == "rgb" else black.flip(0)
        padded = images.new_empty(*images.shape[:2], height + bottom, width + right)
        padded[:] = black.to(images)[:, None, None]
        padded[..., :height, :width] = images
        return padded


RGB_MINUS_MEAN = Preprocessing()
"""What EResFD and EXTD take."""

BGR = Preprocessing(order="bgr", mean=(0.0, 0.0, 0.0), multiple=32)
"""What YuNet takes: the bytes of OpenCV."""
