"""Results of a study, as a file and as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from secateur.files import atomic_write
from secateur.reports.tables import print_table

SHOWN = 10  # rows of the table


def write_results(study: optuna.Study, path: Path) -> None:
    """Write the best trials: one, or for several objectives those that no other one beats.

    Args:
        study: The study.
        path: YAML file.
    """
    trials = study.get_trials(deepcopy=False)
    results: dict[str, Any] = {
        "name": "optuna",
        "study": study.study_name,
        "direction": [direction.name.lower() for direction in study.directions],
        "trials": {
            state.name.lower(): sum(trial.state == state for trial in trials)
            for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        },
    }
    best = ranked(study)
    if len(study.directions) == 1 and best:
        results |= {
            "best_trial": best[0].number,
            "best_value": best[0].value,
            "best_params": best[0].params,
        }
    elif best:
        results["solutions"] = [
            {"trial": trial.number, "params": trial.params, "values": list(trial.values)}
            for trial in study.best_trials
        ]
    atomic_write(path, OmegaConf.to_yaml(OmegaConf.create(results)))


def show_results(study: optuna.Study, folder: Path) -> None:
    """Print the best trials.

    Args:
        study: The study.
        folder: The sweep's folder.
    """
    trials = study.get_trials(deepcopy=False)
    best = (study.best_trials if len(study.directions) > 1 else ranked(study))[:SHOWN]
    names = sorted({name for trial in best for name in trial.params})
    complete = sum(trial.state == TrialState.COMPLETE for trial in trials)
    pruned = sum(trial.state == TrialState.PRUNED for trial in trials)
    failed = sum(trial.state == TrialState.FAIL for trial in trials)
    print_table(
        f"{study.study_name}: {complete} trials complete, {pruned} stopped early, {failed} failed",
        ["trial", *(f"objective {i + 1}" for i in range(len(study.directions))), *names],
        [
            [
                str(trial.number),
                *(f"{value:.4g}" for value in trial.values),
                *(_text(trial.params.get(name, "")) for name in names),
            ]
            for trial in best
        ],
        caption=str(folder),
    )


def ranked(study: optuna.Study) -> list[FrozenTrial]:
    """Complete trials, best first objective first."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    highest_first = study.directions[0] == optuna.study.StudyDirection.MAXIMIZE
    return sorted(complete, key=lambda trial: trial.values[0], reverse=highest_first)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
