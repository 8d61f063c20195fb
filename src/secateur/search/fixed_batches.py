"""Batches that are drawn once, so that every trial sees the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from secateur.data.face_dataset import collate_faces

FaceBatch = tuple[Tensor, list[Tensor]]

"""Images (B, 3, S, S), RGB minus the mean, and per image faces (G, 4)."""


class KeyedPictures(Protocol):
    """Pictures by (epoch, index), such as a training set."""

    def __len__(self) -> int:
        """Number of pictures."""

    def __getitem__(self, key: tuple[int, int]) -> Any:  # noqa: ANN401
        """One picture and what is known about it."""


class FixedBatches(Sequence[Any]):
    """Batches of a training set, item by item a function of the seed.

    Args:
        dataset: Augmented pictures; its seed is that of the augmentation.
        n_batches: Number of batches. Pictures come in random order and again, with another
            augmentation, when there are too few.
        batch_size: Pictures per batch.
        seed: Seed of the order.
        collate: Makes images (B, 3, S, S) and targets of a list of items.
    """

    def __init__(
        self,
        dataset: KeyedPictures,
        n_batches: int,
        batch_size: int,
        seed: int,
        collate: Callable[[list[Any]], Any] = collate_faces,
    ) -> None:
        self.collate = collate
        self.dataset = dataset
        self.n_batches = n_batches
        self.batch_size = batch_size
        rounds = -(-n_batches * batch_size // len(dataset))
        self._keys = [
            (epoch, int(index))
            for epoch in range(rounds)
            for index in np.random.default_rng((seed, epoch)).permutation(len(dataset))
        ]

    def __len__(self) -> int:
        """Number of batches."""
        return self.n_batches

    def __getitem__(self, position: int | slice) -> Any:  # noqa: ANN401
        """One batch, drawn when it is asked for."""
        if isinstance(position, slice):
            raise TypeError("batches are taken one by one")
        if not 0 <= position < self.n_batches:
            raise IndexError(position)
        first = position * self.batch_size
        keys = self._keys[first : first + self.batch_size]
        images, targets = self.collate([self.dataset[key] for key in keys])
        return images.contiguous(memory_format=torch.channels_last), targets
