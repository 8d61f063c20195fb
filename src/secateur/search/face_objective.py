"""The objective for a face detector, from its data and a few settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from secateur.data.augmentation import FaceAugmentation
from secateur.data.face_dataset import FaceDataset, FacePictures, Picture
from secateur.errors import InputError
from secateur.search.drawn_batches import DrawnBatches, FaceBatch
from secateur.search.face_quality import HeldOutLoss, HeldOutPrecision
from secateur.search.objective import Objective, Training
from secateur.search.trial_network import TrialNetwork

_MOST_CACHED = 1 << 30  # bytes of training batches that are kept in memory


@dataclass(frozen=True, slots=True)
class ObjectiveSettings:
    """How trials are judged.

    Attributes:
        kind: ``loss`` or ``ap``.
        batch_size: Pictures per held-out and calibration batch.
        batches: Held-out batches for the loss.
        calibration_batches: Training batches for batch-norm re-estimation.
        train_batch_size: Pictures per training step.
        lr: Of Adam.
        weight_decay: Of Adam.
        hold: Whether pruned filters stay zero in training steps.
        pictures: Held-out pictures for the average precision.
    """

    kind: Literal["loss", "ap"] = "loss"
    batch_size: int = 8
    batches: int = 8
    calibration_batches: int = 8
    train_batch_size: int = 16
    lr: float = 1e-3
    weight_decay: float = 1e-5
    hold: bool = True
    pictures: int = 64

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        if self.kind not in ("loss", "ap"):
            raise InputError(f"objective.kind must be loss or ap, got {self.kind}")
        for name in ("batch_size", "batches", "train_batch_size", "pictures"):
            if getattr(self, name) < 1:
                raise InputError(f"objective.{name} must be at least 1, got {getattr(self, name)}")


def make_objective(
    trial_network: TrialNetwork,
    training: FaceDataset,
    held_out: FacePictures,
    settings: ObjectiveSettings,
    size: int,
    train_steps: int | Literal["epoch"],
    seed: int,
) -> Objective:
    """Draw the batches of a search and make its objective.

    Args:
        trial_network: The network and its masks.
        training: Training pictures without those held out.
        held_out: Pictures of the training list that are held out.
        settings: How trials are judged.
        size: Side of the pictures.
        train_steps: Training steps per trial; ``epoch``: as many as the training pictures fill.
        seed: Of drawing, order and training.

    Returns:
        The objective; its batches are in memory.

    Raises:
        InputError: If there are no held-out pictures.
    """
    if not len(held_out):
        raise InputError("a search judges on held-out pictures: set holdout above 0")
    quality: HeldOutLoss | HeldOutPrecision
    if settings.kind == "loss":
        # As published: judged under the augmentation of training, here the same in all trials.
        judged = FaceDataset(
            held_out.folder, held_out.annotations, FaceAugmentation(size), seed + 1
        )
        quality = HeldOutLoss(_drawn(judged, settings.batches, settings.batch_size, seed))
    else:
        quality = HeldOutPrecision(_pictures(held_out, settings, size))
    calibration: list[FaceBatch] = []
    steps: Training | None = None
    if train_steps == "epoch":
        train_steps = -(-len(training) // settings.train_batch_size)
    if train_steps > 0:
        batches = DrawnBatches(training, train_steps, settings.train_batch_size, seed)
        bytes_needed = train_steps * settings.train_batch_size * 3 * size * size * 4
        steps = Training(
            list(batches) if bytes_needed <= _MOST_CACHED else batches,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            hold=settings.hold,
        )
    else:
        calibration = _drawn(training, settings.calibration_batches, settings.batch_size, seed)
    return Objective(trial_network, quality, calibration, steps, seed)


def _drawn(dataset: FaceDataset, n_batches: int, size: int, seed: int) -> list[FaceBatch]:
    return list(DrawnBatches(dataset, n_batches, size, seed))


def _pictures(
    held_out: FacePictures, settings: ObjectiveSettings, size: int
) -> Sequence[Sequence[Picture]]:
    """Held-out pictures of about ``size`` squared pixels, batched by their size."""
    small = FacePictures(
        held_out.folder, held_out.annotations[: settings.pictures], max_pixels=size * size
    )
    batches: dict[tuple[int, ...], list[list[Picture]]] = {}
    for index in range(len(small)):
        picture = small[index]
        of_size = batches.setdefault(tuple(picture.image.shape), [[]])
        if len(of_size[-1]) == settings.batch_size:
            of_size.append([])
        of_size[-1].append(picture)
    return [batch for of_size in batches.values() for batch in of_size]
