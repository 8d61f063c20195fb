"""How the trials of a search are judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from secateur.errors import InputError

KINDS = ("loss", "ap", "verification")


@dataclass(frozen=True, slots=True)
class ObjectiveSettings:
    """How trials are judged.

    Attributes:
        kind: ``loss``, for detectors also ``ap``, for recognisers also ``verification``.
        batch_size: Pictures per held-out and calibration batch.
        batches: Held-out batches for the loss.
        calibration_batches: Training batches for batch-norm re-estimation.
        train_batch_size: Pictures per training step.
        lr: Of Adam.
        weight_decay: Of Adam.
        hold: Whether pruned filters stay zero in training steps.
        pictures: Held-out pictures for the average precision.
        identities: Share of the training people that are verified, and never trained on in a
            trial, in (0, 1).
        pairs: Pairs of each kind among them, at most.
    """

    kind: Literal["loss", "ap", "verification"] = "loss"
    batch_size: int = 8
    batches: int = 8
    calibration_batches: int = 8
    train_batch_size: int = 16
    lr: float = 1e-3
    weight_decay: float = 1e-5
    hold: bool = True
    pictures: int = 64
    identities: float = 0.2
    pairs: int = 500

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        if self.kind not in KINDS:
            raise InputError(f"objective.kind must be one of {', '.join(KINDS)}, got {self.kind}")
        for name in ("batch_size", "batches", "train_batch_size", "pictures", "pairs"):
            if getattr(self, name) < 1:
                raise InputError(f"objective.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.identities < 1:
            raise InputError(
                f"objective.identities must be above 0 and below 1, got {self.identities:g}"
            )
