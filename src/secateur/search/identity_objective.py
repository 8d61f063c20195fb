"""Objectives of a recognizer: the loss and the equal error rate on held-out pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import default_collate

from secateur.data.face_crop import SquareCut
from secateur.data.identity_dataset import Images, TrainingIdentities
from secateur.data.pairs import Pairs, draw_pairs
from secateur.errors import InputError
from secateur.evaluation_mode import evaluation_mode
from secateur.metrics.verification_metric import PairVerification
from secateur.recovery.distillation import embedding_distillation
from secateur.search.dense_distance import DenseDistance, DenseRefit
from secateur.search.fixed_batches import FixedBatches
from secateur.search.objective import ObjectiveSettings, Training, TrialEvaluator


def identity_evaluator(
    images: Images,
    labels: NDArray[np.int64],
    kept: NDArray[np.int64],
    held_out: NDArray[np.int64],
    cut: SquareCut,
    head: nn.Module | None,
    settings: ObjectiveSettings,
    train_steps: int | Literal["epoch"],
    seed: int,
    dense: nn.Module | None = None,
    exclude: Sequence[str] = (),
) -> TrialEvaluator:
    """Draw the batches of a search and make the evaluator of its trials.

    The people who validate the final result have no part in it: all pictures are those of the
    training identities. The loss is taken on their held-out pictures; verification on pairs of
    some of them, none of whose pictures a trial trains on or calibrates with.

    Args:
        images: Pictures of the training identities.
        labels: (N,) identity of each.
        kept: Indices of those to train on.
        held_out: Indices of those that are held out.
        cut: Makes inputs.
        head: Identification head that was trained with the network, or None.
        settings: How trials are evaluated.
        train_steps: Training steps per trial; ``epoch``: as many as the training pictures fill.
        seed: Seed of drawing, order and training.
        dense: Network as it is before anything is masked, for distances and reconstruction.
        exclude: Patterns of layers that no reconstruction refits.

    Returns:
        The evaluator; its held-out batches are in memory.

    Raises:
        InputError: If nothing is held out, a head is needed and absent, or the objective is for
            detectors.
    """
    if settings.kind == "ap":
        raise InputError("objective=ap is for detectors; take loss or verification")
    if head is None and (settings.kind == "loss" or train_steps != 0):
        raise InputError(
            "the identification loss needs the head that was trained with the network on these "
            "people: give weights= of a run on the same data (checkpoints/best.ckpt), or take "
            "objective=verification with train_steps=0"
        )
    loss = None if head is None else IdentificationLoss(head)
    quality: Callable[[nn.Module], float]
    if settings.kind in ("loss", "distillation"):
        if not len(held_out):
            raise InputError("networks are judged on held-out pictures: set holdout above 0")
        order = np.random.default_rng((seed, 1)).permutation(held_out)
        chosen = order[: settings.batches * settings.batch_size]
        middles = _middles(images, cut, chosen, labels[chosen], settings.batch_size)
        if settings.kind == "loss":
            assert loss is not None
            quality = HeldOutIdentification(loss, middles)
        else:
            assert dense is not None
            quality = DenseDistance(
                dense, [inputs for inputs, _ in middles], _embeddings, _distance
            )
    else:
        kept, verified = _set_people_aside(labels, kept, settings.identities, seed)
        pairs = draw_pairs(labels[verified], settings.pairs, 1, seed)
        numbers = np.unique(np.concatenate([pairs.first, pairs.second]))
        quality = HeldOutVerification(
            _middles(images, cut, verified[numbers], numbers, settings.batch_size), pairs
        )
    training_set = TrainingIdentities(images, kept, labels, cut, seed)
    refit = None
    if settings.reconstruct:
        assert dense is not None
        count = -(-settings.reconstruct // settings.batch_size)
        fitted = FixedBatches(training_set, count, settings.batch_size, seed, default_collate)
        refit = DenseRefit(dense, [batch[0] for batch in fitted], exclude)
    # A batch norm cannot learn from a last batch of one picture.
    epoch = max(1, len(kept) // settings.train_batch_size)
    steps = epoch if train_steps == "epoch" else train_steps
    if steps == 0 and refit is None:
        drawn = FixedBatches(
            training_set, settings.calibration_batches, settings.batch_size, seed, default_collate
        )
        return TrialEvaluator(quality, [batch[0] for batch in drawn], None, seed)
    if steps == 0:
        return TrialEvaluator(quality, [], None, seed, refit)
    assert loss is not None
    batches = FixedBatches(training_set, steps, settings.train_batch_size, seed, default_collate)
    training = Training(batches, loss, settings.lr, settings.weight_decay, settings.hold)
    return TrialEvaluator(quality, [], training, seed, refit)


def _embeddings(network: nn.Module, images: Tensor) -> Tensor:
    found: Tensor = network(images)
    return found


def _distance(network: nn.Module, found: Tensor, wanted: Tensor) -> Tensor:
    return embedding_distillation(found, wanted)


def _middles(
    images: Images,
    cut: SquareCut,
    chosen: NDArray[np.int64],
    targets: NDArray[np.int64],
    batch_size: int,
) -> Sequence[IdentityBatch]:
    """Batches of middle cuts and what is known about them."""
    batches = []
    for first in range(0, len(chosen), batch_size):
        rows = slice(first, first + batch_size)
        inputs: list[Tensor] = [cut.middle(images[int(index)]) for index in chosen[rows]]
        stacked = torch.stack(inputs).contiguous(memory_format=torch.channels_last)
        batches.append((stacked, torch.from_numpy(targets[rows])))
    return batches


def _set_people_aside(
    labels: NDArray[np.int64], kept: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of pictures to train on, and of all pictures of people who are verified."""
    people = np.unique(labels)
    count = max(2, round(share * len(people)))
    if count >= len(people):
        raise InputError(
            f"objective.identities={share:g} of {len(people)} people leaves none to train on: "
            "lower it, or give data of more people"
        )
    aside = np.random.default_rng((seed, 0xA51D)).permutation(people)[:count]
    return kept[~np.isin(labels[kept], aside)], np.flatnonzero(np.isin(labels, aside))


IdentityBatch = tuple[Tensor, Tensor]

"""Images (B, 3, S, S) and identities (B,)."""


class IdentificationLoss:
    """Loss of a recogniser under the head that was trained with it, which stays as it is.

    Args:
        head: Takes embeddings (B, D) and identities (B,), gives logits.
    """

    def __init__(self, head: nn.Module) -> None:
        self.head = head.requires_grad_(False).eval()

    def __call__(self, network: nn.Module, batch: IdentityBatch) -> Tensor:
        """Mean cross entropy of one batch."""
        images, identities = batch
        return cross_entropy(self.head(network(images), identities), identities)


class HeldOutIdentification:
    """Negative identification loss over held-out pictures of trained people.

    Args:
        loss: Computes the loss of one batch.
        batches: Batches of held-out pictures.
    """

    def __init__(self, loss: IdentificationLoss, batches: Sequence[IdentityBatch]) -> None:
        self.loss = loss
        self.batches = batches

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> float:
        """Minus the mean loss."""
        with evaluation_mode(network):
            losses = [self.loss(network, batch) for batch in self.batches]
        return -float(torch.stack(losses).mean())


class HeldOutVerification:
    """Negative equal error rate over pairs of held-out people.

    Args:
        batches: Images (B, 3, S, S) and their numbers (B,) in the pairs.
        pairs: The pairs.
    """

    def __init__(self, batches: Sequence[IdentityBatch], pairs: Pairs) -> None:
        self.batches = batches
        self.pairs = pairs

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> float:
        """Minus the equal error rate, -1..0; not a number for a diverged network."""
        metric = PairVerification(self.pairs.first, self.pairs.second, self.pairs.same)
        with evaluation_mode(network):
            for images, numbers in self.batches:
                embeddings = network(images)
                if not bool(embeddings.isfinite().all()):
                    return float("nan")
                metric.update(embeddings, numbers)
        return -float(metric.compute()["eer"])
