"""RecognitionData: what all data for recognisers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from secateur.data.face_crop import SquareCut
from secateur.data.identity_dataset import (
    Images,
    TrainingIdentities,
    ValidationIdentities,
    collate_validation,
)
from secateur.data.identity_folders import split_identities
from secateur.data.pairs import Pairs
from secateur.data.samplers import EpochSampler, SizeBatchSampler
from secateur.datamodules.loading import checked_workers, draw_inputs, loader_settings
from secateur.training_steps import upcoming_epoch


class Labeled(NamedTuple):
    """Pictures of known people.

    Attributes:
        images: The pictures.
        labels: (N,) identity of each.
        identities: Names of the identities.
    """

    images: Images
    labels: NDArray[np.int64]
    identities: tuple[str, ...]


class Verified(NamedTuple):
    """Pictures to verify.

    Attributes:
        images: The pictures.
        pairs: Pairs of indices into them.
        name: What to call them.
    """

    images: Images
    pairs: Pairs
    name: str


class RecognitionData(pl.LightningDataModule, ABC):
    """People to train on, and pairs of pictures to verify.

    The Trainer must be made with ``use_distributed_sampler=False``: the samplers here know their
    share of a distributed run.

    Args:
        input_size: Side of the network's input.
        shorter_side: Shorter side of the resized picture that inputs are cut from; None
            keeps the published proportion of 129 to 113.
        holdout: Share of every identity's pictures that is kept from training, at least one of
            each, to measure identification; 0 keeps none.
        batch_size: Training pictures per step and process.
        eval_batch_size: Validation pictures per step.
        num_workers: Processes that load; None takes two, or as many as there are cores.
        seed: Seed of shuffling, cutting and mirroring.
        holdout_seed: Seed of the choice of the held-out pictures.

    Raises:
        InputError: If a number is out of range.
    """

    def __init__(
        self,
        input_size: int = 113,
        shorter_side: int | None = None,
        holdout: float = 0.02,
        batch_size: int = 128,
        eval_batch_size: int = 128,
        num_workers: int | None = None,
        seed: int = 0,
        holdout_seed: int = 0,
    ) -> None:
        super().__init__()
        self.cut = SquareCut(input_size, shorter_side)
        self.holdout = holdout
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = checked_workers(batch_size, eval_batch_size, num_workers)
        self.seed = seed
        self.holdout_seed = holdout_seed
        self._labeled: Labeled | None = None
        self._verified: Verified | None = None
        self._kept: NDArray[np.int64] = np.zeros(0, np.int64)
        self._held: NDArray[np.int64] = np.zeros(0, np.int64)

    @abstractmethod
    def read_training(self) -> Labeled:
        """People to train on."""

    @abstractmethod
    def read_verification(self) -> Verified:
        """Pairs to verify."""

    def setup(self, stage: str | None = None) -> None:
        """Read lists and indices; pictures are read when they are needed.

        Args:
            stage: What Lightning prepares for; all stages need both parts.

        Raises:
            InputError: If a file is missing or malformed.
        """
        if self._labeled is None:
            self._labeled = self.read_training()
            labels, names = self._labeled.labels, self._labeled.identities
            self._kept, self._held = split_identities(
                labels, self.holdout, self.holdout_seed, names
            )
            self._verified = self.read_verification()

    @property
    def labeled(self) -> Labeled:
        """People to train on."""
        if self._labeled is None:
            raise RuntimeError("call setup() first")
        return self._labeled

    @property
    def verified(self) -> Verified:
        """Pairs to verify."""
        if self._verified is None:
            raise RuntimeError("call setup() first")
        return self._verified

    @property
    def training(self) -> NDArray[np.int64]:
        """Indices of the pictures to train on."""
        return self._kept

    @property
    def held_out(self) -> NDArray[np.int64]:
        """Indices of the pictures that are kept from training."""
        return self._held

    @property
    def n_identities(self) -> int:
        """Number of people to train on, the classes of the identification head."""
        return len(self.labeled.identities)

    @property
    def pairs(self) -> Pairs:
        """Pairs of validation pictures."""
        return self.verified.pairs

    @property
    def picture_names(self) -> tuple[str, ...]:
        """Names of the pictures to verify; numbers where the set gives them none."""
        images, _, name = self.verified
        names = getattr(images, "names", None)
        return tuple(names or (f"{name}:{number}" for number in range(len(images))))

    def describe(self) -> str:
        """One line for the log."""
        parts = [f"{len(self._kept):,} training pictures of {self.n_identities:,} people"]
        if len(self._held):
            parts.append(f"{len(self._held):,} held out")
        parts.append(f"verification on {len(self.pairs):,} pairs of {self.verified.name}")
        return ", ".join(parts)

    def validation_images(self, count: int) -> list[Tensor]:
        """The first inputs (3, S, S) of the validation, to compare two networks on."""
        dataset = self._validation_set()
        return [dataset[index][0] for index in range(min(count, len(dataset)))]

    def recovery_pictures(self, count: int) -> Tensor:
        """Inputs (count, 3, S, S) of a training, for what needs no labels.

        Args:
            count: How many; fewer if there are fewer training pictures.
        """
        return draw_inputs(self._training_set(), count, self.seed)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, int]]:
        """Batches of images (B, 3, S, S) and identities (B,)."""
        dataset = self._training_set()
        sampler = EpochSampler(len(dataset), self.seed)
        if self.trainer is not None:
            sampler.set_epoch(upcoming_epoch(self.trainer))
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            # A batch norm cannot learn from a last batch of one picture.
            drop_last=len(sampler) > self.batch_size and len(sampler) % self.batch_size == 1,
            collate_fn=default_collate,
            **self._loading(self.batch_size),
        )

    def val_dataloader(self) -> DataLoader[tuple[Tensor, int, int]]:
        """Batches of images (B, 3, S, S), indices in the pairs (B,) and identities (B,)."""
        dataset = self._validation_set()
        return DataLoader(
            dataset,
            batch_sampler=SizeBatchSampler([None] * len(dataset), self.eval_batch_size),
            collate_fn=collate_validation,
            **self._loading(self.eval_batch_size),
        )

    def _training_set(self) -> TrainingIdentities:
        images, labels, _ = self.labeled
        return TrainingIdentities(images, self._kept, labels, self.cut, self.seed)

    def _validation_set(self) -> ValidationIdentities:
        images, labels, _ = self.labeled
        return ValidationIdentities(self.verified.images, images, self._held, labels, self.cut)

    def _loading(self, batch_size: int) -> dict[str, Any]:
        """Arguments of every loader."""
        return loader_settings(self.num_workers, batch_size * 3 * self.cut.size**2 * 4)
