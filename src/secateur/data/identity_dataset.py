"""Datasets for recognisers: cuts to train on, and pictures to verify and to identify."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.face_crop import SquareCut
from secateur.data.images import Picture8

Key = tuple[int, int]

NOT_THERE = -1
"""Index of a picture that is in no pair, and label of one that is of no trained identity."""


class Images(Protocol):
    """Pictures by index, from wherever."""

    def __len__(self) -> int:
        """Number of pictures."""

    def __getitem__(self, index: int) -> Picture8:
        """(H, W, 3) RGB."""


class TrainingIdentities(Dataset[tuple[Tensor, int]]):
    """Random cuts with their identity, each a function of (seed, epoch, index) alone.

    Args:
        images: Pictures.
        chosen: (N,) indices of those to train on.
        labels: Identity of every picture, chosen or not.
        cut: Makes inputs.
        seed: Seed of the run.
    """

    def __init__(
        self,
        images: Images,
        chosen: NDArray[np.int64],
        labels: NDArray[np.int64],
        cut: SquareCut,
        seed: int,
    ) -> None:
        self.images = images
        self.chosen = chosen
        self.labels = labels
        self.cut = cut
        self.seed = seed

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.chosen)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        """Input (3, S, S) and identity for an epoch and an index, as `EpochSampler` gives them."""
        epoch, index = key
        generator = np.random.default_rng((self.seed, epoch, index))
        picture = int(self.chosen[index])
        return self.cut.random(self.images[picture], generator), int(self.labels[picture])


class ValidationIdentities(Dataset[tuple[Tensor, int, int]]):
    """Middle cuts of the pictures in pairs, then of held-out pictures of trained identities.

    Args:
        verified: Pictures that the pairs are made of.
        held_out: Where the held-out pictures lie.
        chosen: (N,) indices of the held-out ones there.
        labels: Identity of every picture there.
        cut: Makes inputs.
    """

    def __init__(
        self,
        verified: Images,
        held_out: Images,
        chosen: NDArray[np.int64],
        labels: NDArray[np.int64],
        cut: SquareCut,
    ) -> None:
        self.verified = verified
        self.held_out = held_out
        self.chosen = chosen
        self.labels = labels
        self.cut = cut

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.verified) + len(self.chosen)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        """Input (3, S, S), index in the pairs and identity, one of which is `NOT_THERE`."""
        if index < len(self.verified):
            return self.cut.middle(self.verified[index]), index, NOT_THERE
        picture = int(self.chosen[index - len(self.verified)])
        image = self.cut.middle(self.held_out[picture])
        return image, NOT_THERE, int(self.labels[picture])


def collate_validation(items: list[tuple[Tensor, int, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Images (B, 3, S, S), indices (B,) and identities (B,)."""
    images, indices, labels = zip(*items, strict=True)
    return torch.stack(images), torch.tensor(indices), torch.tensor(labels)
