"""Anchors: one square (or slightly tall) prior box per cell of every feature level."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

STRIDES = (4, 8, 16, 32, 64, 128)
SIZES = (16, 32, 64, 128, 256, 512)


def make_anchors(
    level_sizes: Sequence[tuple[int, int]],
    image_size: tuple[int, int],
    strides: Sequence[int] = STRIDES,
    sizes: Sequence[int] = SIZES,
    ratio: float = 1.0,
) -> Tensor:
    """Lay one anchor over every cell, levels in order and rows first (S3FD, section 3.1).

    Args:
        level_sizes: Height and width in cells of each level.
        image_size: Height and width of the network input in pixels.
        strides: Pixels between neighbouring anchors of each level.
        sizes: Anchor width in pixels of each level.
        ratio: Height over width.

    Returns:
        (N, 4) centre x, centre y, width, height, in fractions of the input. Centres exceed 1
        where a level reaches beyond the input.

    Raises:
        ValueError: If levels, strides and sizes differ in number.

    Examples:
        >>> make_anchors([(1, 2)], (4, 8), strides=[4], sizes=[16])
        tensor([[0.2500, 0.5000, 2.0000, 4.0000],
                [0.7500, 0.5000, 2.0000, 4.0000]])
    """
    height, width = image_size
    levels = []
    for (rows, columns), stride, size in zip(level_sizes, strides, sizes, strict=True):
        # float64 first: rounding once at the end gives the published values
        y = (torch.arange(rows, dtype=torch.float64) + 0.5) * stride / height
        x = (torch.arange(columns, dtype=torch.float64) + 0.5) * stride / width
        level = torch.empty(rows, columns, 4, dtype=torch.float64)
        level[..., 0] = x
        level[..., 1] = y[:, None]
        level[..., 2] = size / width
        level[..., 3] = size * ratio / height
        levels.append(level.view(-1, 4))
    return torch.cat(levels).float()


class AnchorCache:
    """Anchors of a network, computed once per input size and device.

    It is no module and holds no buffer, so nothing of it enters a state dict. A copied or pickled
    cache starts empty.

    Args:
        cell_strides: Pixels per cell of each level of the network; a level has
            ``ceil(pixels / stride)`` cells, since every strided layer rounds up.
        ratio: Height over width of the anchors.
        strides: Pixels between neighbouring anchors, where they differ from ``cell_strides``.
        capacity: Number of input sizes to remember.

    Raises:
        ValueError: If the ratio is no positive number.
    """

    def __init__(
        self,
        cell_strides: Sequence[int] = STRIDES,
        ratio: float = 1.0,
        strides: Sequence[int] = STRIDES,
        capacity: int = 16,
    ) -> None:
        if not 0 < ratio < math.inf:
            raise ValueError(f"anchor_ratio must be a number above 0, got {ratio}")
        self.cell_strides = tuple(cell_strides)
        self.ratio = ratio
        self.strides = tuple(strides)
        self.capacity = capacity
        self._known: dict[tuple[int, int, torch.device], Tensor] = {}

    def __call__(self, height: int, width: int, device: torch.device) -> Tensor:
        """Anchors (N, 4) of an input of ``height`` x ``width`` pixels; not to be written to."""
        key = (int(height), int(width), device)
        anchors = self._known.pop(key, None)
        if anchors is None:
            level_sizes = [(-(-key[0] // s), -(-key[1] // s)) for s in self.cell_strides]
            # validation may ask first, and autograd cannot use what inference mode has made
            with torch.inference_mode(mode=False):
                anchors = make_anchors(
                    level_sizes, (key[0], key[1]), strides=self.strides, ratio=self.ratio
                ).to(device)
        self._known[key] = anchors  # most recently used last
        if len(self._known) > self.capacity:
            del self._known[next(iter(self._known))]
        return anchors

    def __getstate__(self) -> dict[str, object]:
        """Everything but the cached tensors."""
        return {**self.__dict__, "_known": {}}
