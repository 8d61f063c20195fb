"""Records of trials: rows, the best one, the Pareto front, and which groups matter."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial

from secateur.files import atomic_write
from secateur.search.sampling import RESULT


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: Number of the trial in the study.
        state: ``complete``, ``fail``, ``running`` or ``waiting``.
        rates: Rate per group; empty before there is a result.
        removed: Share of the network that the rates remove.
        objective: Figure that was maximized.
        quality: Objective without penalty; absent when infeasible.
        feasible: Whether the rates were worth an evaluation.
        reused: Whether the quality of an equal network was taken over.
        seconds: Duration of the trial without sampling.
    """

    number: int
    state: str
    rates: dict[str, float]
    removed: float | None
    objective: float | None
    quality: float | None
    feasible: bool
    reused: bool
    seconds: float | None


def read_trial(trial: FrozenTrial) -> TrialRecord:
    """Record of a trial of `secateur.search.study.RateStudy`."""
    result = trial.user_attrs.get(RESULT, {})
    return TrialRecord(
        number=trial.number,
        state=trial.state.name.lower(),
        rates=dict(result.get("rates", {})),
        removed=result.get("removed"),
        objective=float(trial.values[0]) if trial.state == TrialState.COMPLETE else None,
        quality=result.get("quality"),
        feasible=bool(result.get("feasible", False)),
        reused=bool(result.get("reused", False)),
        seconds=result.get("seconds"),
    )


def completed(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Trials with an objective."""
    return [record for record in records if record.objective is not None]


def best(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The feasible trial of the highest objective, of equal ones the first."""
    feasible = [record for record in completed(records) if record.feasible]
    return max(feasible, key=lambda record: record.objective or 0.0, default=None)


def front(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Feasible trials that no other beats in quality and in size, by rising share removed."""
    kept: list[TrialRecord] = []
    feasible = [record for record in completed(records) if record.feasible]
    for record in sorted(feasible, key=lambda r: (-(r.removed or 0), -(r.objective or 0))):
        if not kept or (record.objective or 0) > (kept[-1].objective or 0):
            kept.append(record)
    return kept[::-1]


def write_trials(path: Path, records: Sequence[TrialRecord]) -> Path:
    """Write trials as CSV, a column for the rate of every group."""
    groups = list(dict.fromkeys(group for record in records for group in record.rates))
    fields = ("number", "state", "objective", "quality", "removed", "feasible", "reused", "seconds")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*fields, *(f"rate_{group}" for group in groups)])
    for record in records:
        values = [getattr(record, field) for field in fields]
        writer.writerow([*values, *(record.rates.get(group) for group in groups)])
    return atomic_write(path, text.getvalue())


def importances(records: Sequence[TrialRecord]) -> dict[str, float]:
    """How much the rate of each group decides whether a trial is among the best, 0..1.

    PED-ANOVA (Watanabe et al. 2023) calls low values good, so the objective is negated.

    Args:
        records: Trials; those without quality are left out.

    Returns:
        Importance per group, falling; empty when there are too few trials to tell.
    """
    measured = [record for record in records if record.quality is not None]
    rates = {tuple(record.rates.values()) for record in measured}
    if len(rates) < 10 or len({record.quality for record in measured}) < 2:
        return {}
    groups = [
        group
        for group in measured[0].rates
        if len({record.rates[group] for record in measured}) > 1
    ]
    study = optuna.create_study()
    study.add_trials(
        create_trial(
            params={group: record.rates[group] for group in groups},
            distributions=dict.fromkeys(groups, FloatDistribution(0.0, 1.0)),
            value=-(record.quality or 0.0),
        )
        for record in measured
    )
    return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))
