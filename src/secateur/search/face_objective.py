"""Objectives of a face detector: the loss and the average precision on held-out pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from secateur.data.augmentations.face_augmentation import FaceAugmentation
from secateur.data.face_dataset import SETTINGS, FaceDataset, FacePictures, Picture
from secateur.detectors.detection import (
    Detector,
    Distillable,
    batch_losses,
    detect,
    run,
    sum_losses,
)
from secateur.errors import InputError
from secateur.evaluation_mode import evaluation_mode
from secateur.metrics.wider_face_metric import WiderFaceAP
from secateur.recovery.distillation import detector_distances
from secateur.search.dense_distance import DenseDistance, DenseRefit
from secateur.search.fixed_batches import FaceBatch, FixedBatches
from secateur.search.objective import ObjectiveSettings, Training, TrialEvaluator

_MOST_CACHED = 1 << 30  # bytes of training batches that are kept in memory
_PROBABILITIES = 20.0  # distances of boxes are some twenty times those of probabilities
_REFIT_BATCH = 4  # pictures of one forward of a reconstruction


def face_evaluator(
    training: FaceDataset,
    held_out: FacePictures,
    settings: ObjectiveSettings,
    size: int,
    train_steps: int | Literal["epoch"],
    seed: int,
    dense: nn.Module | None = None,
    exclude: Sequence[str] = (),
) -> TrialEvaluator:
    """Draw the batches of a search and make the evaluator of its trials.

    Args:
        training: Training pictures without those held out.
        held_out: Pictures of the training list that are held out.
        settings: How trials are evaluated.
        size: Side of the pictures.
        train_steps: Training steps per trial; ``epoch``: as many as the training pictures fill.
        seed: Seed of drawing, order and training.
        dense: Network as it is before anything is masked, for distances and reconstruction.
        exclude: Patterns of layers that no reconstruction refits, such as the heads.

    Returns:
        The evaluator; its batches are in memory.

    Raises:
        InputError: If there are no held-out pictures, or the objective is for recognisers.
    """
    if settings.kind == "verification":
        raise InputError("objective=verification is for recognisers; take loss or ap")
    if not len(held_out):
        raise InputError("networks are judged on held-out pictures: set holdout above 0")
    views = None if settings.views is None else FaceAugmentation(size, views=settings.views)

    def draw(
        pictures: FaceDataset | FacePictures, count: int, size: int, own: int
    ) -> list[FaceBatch]:
        """Batches under the augmentation of training, as published, or under the views."""
        dataset = FaceDataset(
            pictures.folder,
            pictures.annotations,
            views or training.augmentation,
            own,
            training.preprocessing,
        )
        return list(FixedBatches(dataset, count, size, seed))

    quality: Callable[[nn.Module], float]
    if settings.kind in ("loss", "distillation"):
        drawn = draw(held_out, settings.batches, settings.batch_size, seed + 1)
        if settings.kind == "loss":
            quality = HeldOutLoss(drawn)
        else:
            assert dense is not None
            quality = DenseDistance(dense, [images for images, _ in drawn], _outputs, _distance)
    else:
        quality = HeldOutPrecision(_pictures(held_out, settings, size))
    calibration: list[Tensor] = []
    steps: Training | None = None
    if train_steps == "epoch":
        train_steps = -(-len(training) // settings.train_batch_size)
    if train_steps > 0:
        batches = FixedBatches(training, train_steps, settings.train_batch_size, seed)
        bytes_needed = train_steps * settings.train_batch_size * 3 * size * size * 4
        steps = Training(
            list(batches) if bytes_needed <= _MOST_CACHED else batches,
            training_loss,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            hold=settings.hold,
        )
    elif not settings.reconstruct:
        batches = FixedBatches(training, settings.calibration_batches, settings.batch_size, seed)
        calibration = [images for images, _ in batches]
    refit = None
    if settings.reconstruct:
        assert dense is not None
        count = -(-settings.reconstruct // _REFIT_BATCH)
        refitted = draw(training, count, _REFIT_BATCH, seed)
        refit = DenseRefit(dense, [images for images, _ in refitted], exclude)
    return TrialEvaluator(quality, calibration, steps, seed, refit)


def _outputs(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Outputs of a detector."""
    return run(cast("Detector", network), images)[0]


def _distance(network: nn.Module, outputs: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Sum of the distillation losses of a detector; probabilities are what its order hangs on."""
    detector = cast("Distillable", network)
    losses = detector_distances(detector, outputs, detector, wanted, probabilities=_PROBABILITIES)
    return sum_losses(losses)


def _pictures(
    held_out: FacePictures, settings: ObjectiveSettings, size: int
) -> Sequence[Sequence[Picture]]:
    """Held-out pictures of about ``size`` squared pixels, batched by their size."""
    small = FacePictures(
        held_out.folder,
        held_out.annotations[: settings.pictures],
        max_pixels=size * size,
        preprocessing=held_out.preprocessing,
    )
    batches: dict[tuple[int, ...], list[list[Picture]]] = {}
    for index in range(len(small)):
        picture = small[index]
        of_size = batches.setdefault(tuple(picture.image.shape), [[]])
        if len(of_size[-1]) == settings.batch_size:
            of_size.append([])
        of_size[-1].append(picture)
    return [batch for of_size in batches.values() for batch in of_size]


def training_loss(network: Any, batch: FaceBatch) -> Tensor:  # noqa: ANN401
    """Loss of one batch."""
    return sum_losses(batch_losses(network, *batch))


class HeldOutLoss:
    """Negative loss over drawn batches, in evaluation mode.

    Args:
        batches: Batches of held-out pictures.
    """

    def __init__(self, batches: Sequence[FaceBatch]) -> None:
        self.batches = batches

    @torch.no_grad()
    def __call__(self, network: Any) -> float:  # noqa: ANN401
        """Minus the sum of the means of all terms of the loss."""
        with evaluation_mode(network):
            losses = [batch_losses(network, images, faces) for images, faces in self.batches]
        means = {name: torch.stack([terms[name] for terms in losses]).mean() for name in losses[0]}
        return -float(sum_losses(means))


class HeldOutPrecision:
    """Average precision over all faces of held-out pictures.

    Args:
        pictures: Batches of whole pictures, those of a batch of one size.
    """

    def __init__(self, pictures: Sequence[Sequence[Picture]]) -> None:
        self.pictures = pictures

    @torch.no_grad()
    def __call__(self, network: Any) -> float:  # noqa: ANN401
        """Average precision in 0..1."""
        metric = WiderFaceAP(settings=SETTINGS)
        with evaluation_mode(network):
            for batch in self.pictures:
                images = torch.stack([picture.image for picture in batch])
                images = images.contiguous(memory_format=torch.channels_last)
                for picture, rows in zip(batch, detect(network, images), strict=True):
                    metric.update(
                        picture.to_pixels(rows)[:, :5],
                        picture.faces,
                        picture.evaluated,
                        picture.participates,
                    )
        return float(metric.compute()["ap_unlisted"])
