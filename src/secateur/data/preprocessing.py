"""Pre-processing: from a picture to what the detectors take."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MEAN = (123.0, 117.0, 104.0)

"""Red, green and blue that are subtracted from values in 0..255; nothing is divided."""


def to_input(rgb: NDArray[np.uint8]) -> Tensor:
    """Subtract the mean and put channels first.

    Args:
        rgb: (H, W, 3) picture, 0..255.

    Returns:
        (3, H, W) float32.

    Examples:
        >>> to_input(np.zeros((1, 1, 3), np.uint8)).flatten().tolist()
        [-123.0, -117.0, -104.0]
    """
    pixels = torch.from_numpy(np.ascontiguousarray(rgb))
    image = pixels.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format)
    return image.sub_(torch.tensor(MEAN)[:, None, None])
