"""A worker: makes trials of a study until all are spent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from optuna.trial import TrialState

from secateur.search.placement import Placement
from secateur.search.sampling import RESULT
from secateur.search.study import RateStudy


class Space(Protocol):
    """What maps sampled points to rates: exact, published or front."""

    @property
    def variables(self) -> dict[str, tuple[float, float]]:
        """Bounds of what a sampler chooses."""

    def place(self, point: Mapping[str, float]) -> Placement:
        """Rates for one point."""


class Evaluation(Protocol):
    """What tells how good rates are."""

    def __call__(self, rates: Mapping[str, float]) -> float:
        """Quality; larger is better."""

    def identity(self, rates: Mapping[str, float]) -> str:
        """Text that equal networks share."""


@dataclass(frozen=True, slots=True)
class Identify:
    """Tells which points of a space give the same network.

    Attributes:
        space: Maps points to rates.
        evaluate: Knows the masks of rates.
    """

    space: Space
    evaluate: Evaluation

    def __call__(self, point: Mapping[str, float]) -> str:
        """Text that points of equal networks share."""
        return self.evaluate.identity(self.space.place(point).rates)


def work(
    study: RateStudy,
    space: Space,
    evaluate: Evaluation,
    progressed: Callable[[], None] = lambda: None,
    parent: int | None = None,
) -> None:
    """Make trials until the study has spent all of them.

    Args:
        study: Shared with other workers.
        space: Maps points to rates.
        evaluate: Measures rates; equal networks are measured once.
        progressed: Called after every trial and while waiting for others.
        parent: Process to work for; the worker stops after its trial when that has gone.
    """
    n_objectives = len(study.study.directions)
    while parent is None or os.getppid() == parent:
        trial = study.claim()
        if trial is None:
            if study.counts().spent >= study.n_trials:
                return
            study.recover()
            study.wait()
            progressed()
            continue
        started = time.perf_counter()
        placement = space.place(trial.params)
        result: dict[str, object] = {
            "rates": placement.rates,
            "removed": placement.removed,
            "penalty": placement.penalty,
            "feasible": placement.feasible,
        }
        value = placement.objective(0.0)
        if placement.feasible:
            identity = evaluate.identity(placement.rates)
            known = _known(study, identity)
            quality = evaluate(placement.rates) if known is None else known
            result |= {"network": identity, "reused": known is not None}
            if quality == quality:  # NaN has no place in a database
                result["quality"] = quality
            value = placement.objective(quality)
        result["seconds"] = time.perf_counter() - started
        study.finish(trial, [value, placement.removed][:n_objectives], result)
        progressed()


def _known(study: RateStudy, identity: str) -> float | None:
    """Quality of a network that some trial has measured."""
    for trial in study.trials():
        result = trial.user_attrs.get(RESULT, {})
        if trial.state == TrialState.COMPLETE and result.get("network") == identity:
            return float(result["quality"])
    return None
