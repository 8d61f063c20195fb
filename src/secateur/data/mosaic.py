"""Mosaics: four training items of half the size in one picture, for faces that are far away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.utils.data import Dataset

from secateur.data.augmentations.window import MIN_AREA
from secateur.data.face_dataset import FaceDataset, Key
from secateur.data.landmarks import move_faces
from secateur.data.mixed_faces import MixedFaces
from secateur.errors import InputError

_CELLS = ((0, 0), (1, 0), (0, 1), (1, 1))  # column and row


def join_in_mosaic(images: Sequence[Tensor], faces: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Four pictures of half their size beside and below each other.

    Args:
        images: Four of (3, S, S), S even; in reading order.
        faces: Of each, (G, 4) corners in 0..1, or (G, 19) with landmarks.

    Returns:
        Image (3, S, S), and its faces; those that cover at most `MIN_AREA` pixels are left out.

    Example:
        >>> corners = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        >>> image, faces = join_in_mosaic([torch.full((3, 16, 16), float(i)) for i in range(4)],
        ...                               [corners, corners, corners[:0], corners[:0]])
        >>> image[0, ::8, ::8].tolist(), faces.tolist()
        ([[0.0, 1.0], [2.0, 3.0]], [[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5]])
    """
    small = [avg_pool2d(image, 2) for image in images]
    joined = torch.cat([torch.cat(small[:2], dim=2), torch.cat(small[2:], dim=2)], dim=1)
    moved = [
        torch.from_numpy(move_faces(rows.numpy(), cell, (0.5, 0.5)))
        for rows, cell in zip(faces, _CELLS, strict=True)
    ]
    # Pictures without faces have no columns for landmarks either.
    found = torch.cat([rows for rows in moved if len(rows)] or moved[:1])
    sides = (found[:, 2:4] - found[:, :2]) * joined.shape[-1]
    return joined, found[sides.prod(dim=1) > MIN_AREA]


class MosaicFaces(Dataset[tuple[Any, ...]]):
    """Items of a training set, a share of them joined with three others into one picture.

    Items are functions of (seed, epoch, index) alone. A mosaic teaches what the part of it
    teaches that says least.

    Args:
        items: The training set.
        share: Of mosaics among the items, in [0, 1].
        seed: Of the run.

    Raises:
        InputError: If the share is out of range.
    """

    def __init__(self, items: FaceDataset | MixedFaces, share: float, seed: int) -> None:
        if not 0 <= share <= 1:
            raise InputError(f"data.mosaic must be between 0 and 1, got {share:g}")
        self.items = items
        self.share = share
        self.seed = seed

    def __len__(self) -> int:
        """Items of an epoch."""
        return len(self.items)

    def __getitem__(self, key: Key) -> tuple[Any, ...]:
        """The item of an epoch and an index, as ``EpochSampler`` gives them.

        Returns:
            Image (3, S, S), faces (G, 4) or (G, 19) and, of mixed items, what they teach.

        Raises:
            InputError: If a picture cannot be read.
        """
        first = self.items[key]
        epoch, index = key
        generator = np.random.default_rng((self.seed, epoch, index, 4))
        if first[0].shape[-1] % 2 or generator.random() >= self.share:
            return first
        others = [int(other) for other in generator.integers(len(self), size=3)]
        parts = [first, *(self.items[epoch, other] for other in others)]
        image, faces = join_in_mosaic([part[0] for part in parts], [part[1] for part in parts])
        teaching = zip(*(part[2:] for part in parts), strict=True)
        return image, faces, *(min(values) for values in teaching)
