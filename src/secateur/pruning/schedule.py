"""Schedule: in which epochs to prune, how much, and when to hold the mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

ScheduleKind = Literal["soft", "gradual", "oneshot", "iterative", "held"]
Phase = Literal["dense", "prune", "hold"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Three phases in epochs: train dense, prune, hold the final mask and fine-tune.

    ``soft`` re-masks at the full rate and lets filters grow back in between (He et al., IJCAI
    2018, algorithm 1); ``gradual`` does so with a rate that rises to the full one (asymptotic
    soft filter pruning, He et al. 2019); ``iterative`` removes a few more filters each time and
    never gives one back (Molchanov et al. 2017); ``oneshot`` masks once, before the first epoch
    after the dense phase, and holds from there; ``held`` does so with the mask that the network
    carries already as zero filters.

    Args:
        kind: How the prune phase behaves.
        dense_epochs: Epochs before any pruning; at least 0.
        prune_epochs: Epochs of the prune phase; at least 1 unless ``kind`` is ``oneshot``.
        finetune_epochs: Epochs with the final mask held; at least 0.
        every_n_epochs: Masks are renewed after the first epoch of the prune phase, after every
            n-th from there, and after the last one.
        mask_first: Whether a ``soft`` schedule masks before the first epoch of the prune phase
            too: for a network that was trained already.

    Raises:
        ValueError: If a number is out of range.
    """

    kind: ScheduleKind = "soft"
    dense_epochs: int = 0
    prune_epochs: int = 1
    finetune_epochs: int = 0
    every_n_epochs: int = 1
    mask_first: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        if self.kind not in get_args(ScheduleKind):
            known = ", ".join(get_args(ScheduleKind))
            raise ValueError(f"schedule must be one of {known}: {self.kind!r}")
        if min(self.dense_epochs, self.prune_epochs, self.finetune_epochs) < 0:
            raise ValueError("numbers of epochs must not be negative")
        if self.every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, got {self.every_n_epochs}")
        if not self._at_once and self.prune_epochs < 1:
            raise ValueError(f"a {self.kind} schedule needs prune_epochs of at least 1")

    @property
    def _at_once(self) -> bool:
        """Whether the one mask is set before an epoch rather than by a phase."""
        return self.kind in ("oneshot", "held")

    @property
    def _prune_span(self) -> int:
        return 0 if self._at_once else self.prune_epochs

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole run."""
        return self.dense_epochs + self._prune_span + self.finetune_epochs

    @property
    def last_prune_epoch(self) -> int:
        """Index of the epoch after whose training the final mask is set (-1: before training)."""
        return self.dense_epochs + self._prune_span - 1

    def phase(self, epoch: int) -> Phase:
        """Phase that epoch number ``epoch`` (from 0) belongs to."""
        if epoch < self.dense_epochs:
            return "dense"
        return "prune" if epoch <= self.last_prune_epoch else "hold"

    def prunes_before(self, epoch: int) -> bool:
        """Whether masks are set before the first batch of ``epoch``."""
        first = self._at_once or (self.kind == "soft" and self.mask_first)
        return first and epoch == self.dense_epochs

    def prunes_after(self, epoch: int) -> bool:
        """Whether masks are renewed at the end of ``epoch``, before its validation."""
        if self._at_once or self.phase(epoch) != "prune":
            return False
        since = epoch - self.dense_epochs
        return since % self.every_n_epochs == 0 or epoch == self.last_prune_epoch

    def is_final(self, epoch: int) -> bool:
        """Whether no later masks give back a filter that the masks set after ``epoch`` remove."""
        return self._at_once or self.kind == "iterative" or epoch >= self.last_prune_epoch

    def fraction(self, epoch: int) -> float:
        """Share of the full rate that the masks set after ``epoch`` remove, in (0, 1]."""
        if self.kind == "soft" or self._at_once:
            return 1.0
        done = (epoch - self.dense_epochs + 1) / self.prune_epochs
        if self.kind == "iterative":
            return done
        # Most filters are removed early, the rest ever more slowly: an exponential ending at 1.
        return (1.0 - math.pow(0.05, done)) / 0.95

    def holds_during(self, epoch: int) -> bool:
        """Whether the current mask is kept through every optimiser step of ``epoch``."""
        if self.kind == "iterative":
            return self.phase(epoch) != "dense"
        return self.phase(epoch) == "hold"
