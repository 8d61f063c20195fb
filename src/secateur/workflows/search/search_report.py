"""Search report: trials, rates, plots, a summary and the closing table."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from secateur.cost.latency import machine_name
from secateur.files import atomic_write, write_json
from secateur.pruning.targets import Target
from secateur.reports.search_plots import plot_history, plot_importance, plot_size_front
from secateur.reports.tables import NOTHING, percent, print_table
from secateur.search.exact_space import FrontSpace
from secateur.search.records import (
    TrialRecord,
    best,
    completed,
    front,
    importances,
    read_trial,
    write_trials,
)
from secateur.search.study import RateStudy
from secateur.search.workers import SearchJob
from secateur.workflows.config.overrides import given_overrides, key_of, override
from secateur.workflows.config.pruning_config import pruning_settings, required_target
from secateur.workflows.run_folder import RunFolder
from secateur.workflows.search.trial_setup import objective_name
from secateur.workflows.tracking.wandb_run import log_search, tracked_run

log = logging.getLogger(__name__)


def write_results(
    config: DictConfig,
    run: RunFolder,
    job: SearchJob,
    study: RateStudy,
    seconds: float,
    name: str,
) -> float | None:
    """Everything in the run folder, the closing table, and what W&B shows under a name."""
    records = [read_trial(trial) for trial in study.trials()]
    write_trials(run.path / "trials.csv", records)
    found = best(records)
    fronts = front(records)
    chosen = fronts[-1] if isinstance(job.space, FrontSpace) and fronts else found
    summary = _summary(config, records, found, seconds)
    _draw(config, run.path / "plots", records, fronts)
    if chosen is not None:
        _write_rates(run.path / "rates.yaml", config, chosen)
    if isinstance(job.space, FrontSpace):
        write_trials(run.path / "front.csv", fronts)
    _closing_table(config, summary, fronts if isinstance(job.space, FrontSpace) else [])
    write_json(run.summary, summary)
    with tracked_run(config, run.path, name, job_type="search") as tracked:
        if tracked is not None:
            log_search(tracked, run.path, summary, [Path(str(config.weights))])
    log.info("run folder: %s", run.path)
    if chosen is None:
        log.warning("no trial was feasible, so there is no rates.yaml: try space=exact")
        return None
    log.info("%s", train_command(config, run.path / "rates.yaml"))
    return chosen.objective


def _summary(
    config: DictConfig, records: list[TrialRecord], found: TrialRecord | None, seconds: float
) -> dict[str, Any]:
    """The flat record of the search."""
    done = completed(records)
    target = required_target(config)
    states = [record.state for record in records]
    summary: dict[str, Any] = {
        "task": "search",
        "model": config.model.name,
        "criterion": config.pruning.criterion,
        "space": config.space.kind,
        "sampler": config.sampler.kind,
        "objective": config.objective.kind,
        "scope": config.pruning.scope,
        "target": f"{target.quantity}={target}",
        "seed": int(config.seed),
        "data": config.data.name,
        "input_size": int(config.search_size),
        "train_steps": config.train_steps,
        "n_workers": int(config.n_workers),
        "trials": len(records),
        "trials_complete": len(done),
        "trials_failed": states.count("fail"),
        "trials_feasible": sum(record.feasible for record in done),
        "trials_reused": sum(record.reused for record in done),
        "feasible_share": sum(record.feasible for record in done) / max(len(done), 1),
        "machine": machine_name(),
        "trial_seconds": sum(record.seconds or 0.0 for record in done),
        "wall_seconds": seconds,
    }
    if found is not None:
        summary |= {
            "best_objective": found.objective,
            "best_trial": found.number,
            "best_removed": found.removed,
            f"best_{target.quantity}": _value(target, found),
            "rates": found.rates,
        }
    return summary


def _closing_table(config: DictConfig, summary: dict[str, Any], fronts: list[TrialRecord]) -> None:
    """Print the best trials."""
    target = required_target(config)
    quantity = target.quantity
    rows = [
        ["trials", f"{summary['trials_complete']:,}"],
        ["feasible", percent(summary["feasible_share"])],
        ["networks measured", f"{summary['trials_feasible'] - summary['trials_reused']:,}"],
        ["failed", f"{summary['trials_failed']:,}"],
        ["this command took", f"{summary['wall_seconds']:.0f} s"],
    ]
    if "rates" in summary:
        rows += [
            ["best objective", f"{summary['best_objective']:.4f}"],
            [f"its {quantity}", percent(summary[f"best_{quantity}"])],
            *([f"rate of {group}", f"{rate:.4f}"] for group, rate in summary["rates"].items()),
        ]
    title = f"{summary['model']} · {summary['space']} · {summary['sampler']}"
    print_table(title, ["", f"target {quantity} {target}"], rows)
    if fronts:
        print_table(
            "front of size against quality",
            [quantity, str(config.objective.kind)],
            [
                [
                    percent(_value(target, record)),
                    NOTHING if record.objective is None else f"{record.objective:.4f}",
                ]
                for record in fronts
            ],
        )


def _draw(
    config: DictConfig, folder: Path, records: list[TrialRecord], fronts: list[TrialRecord]
) -> None:
    """The three plots."""
    quantity = objective_name(config)
    name = f"{config.model.name}, {config.space.kind} space, {config.sampler.kind}"
    done = completed(records)
    measured = [record for record in done if record.quality is not None]
    plot_history(
        folder / "history.png",
        [
            record.objective if record.feasible and record.objective is not None else float("nan")
            for record in done
        ],
        title=name,
        quantity=quantity,
    )
    plot_importance(folder / "importance.png", importances(records), title=name)
    plot_size_front(
        folder / "front.png",
        [record.removed or 0.0 for record in measured],
        [record.quality or 0.0 for record in measured],
        [(record.removed or 0.0, record.objective or 0.0) for record in fronts],
        title=name,
        size=f"share removed ({required_target(config).quantity})",
        quantity=quantity,
    )


def _value(target: Target, record: TrialRecord) -> float | None:
    """Size of a trial's network in the quantity of the target, as a share."""
    if record.removed is None:
        return None
    return record.removed if target.quantity == "sparsity" else 1 - record.removed


def _write_rates(path: Path, config: DictConfig, found: TrialRecord) -> None:
    """The file of a search: the rates of its best trial."""
    target = required_target(config)
    write_rates(
        path,
        config,
        f"{target.quantity} {_value(target, found):.4f} for a target of {target}; trial "
        f"{found.number}, objective {found.objective:.4f}",
        found.rates,
    )


def write_rates(
    path: Path,
    config: DictConfig,
    headline: str,
    rates: Mapping[str, float],
    groups: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """The file for ``train.py rates=``: the rates, and all settings that they were found with.

    Args:
        path: File to write.
        config: Composed configuration of the search.
        headline: What was found, for the first line, after model and criterion.
        rates: Rate per group.
        groups: Patterns of layer names per group; None for those of the configuration.
    """
    settings = replace(pruning_settings(config), rate=0.0, rates={}, target={})
    if groups is not None:
        settings = replace(settings, groups=groups)
    plain = settings.to_plain()
    for beside in ("rates", "target", "seed"):
        plain.pop(beside)
    content = {"model": str(config.model.name), "settings": plain, "rates": dict(rates)}
    text = (
        f"# {config.model.name}, {config.pruning.criterion}: {headline}\n"
        f"#   {train_command(config, path)}\n"
    )
    atomic_write(path, text + OmegaConf.to_yaml(OmegaConf.create(content)))


def train_command(config: DictConfig, rates: Path) -> str:
    """The command that prunes as was found: same network, weights and pictures.

    What the command line of the search sets within model and data by name is part of it.
    """
    parts = {"model": config.model.name, "weights": config.weights, "data": config.data.name}
    if config.data.get("root") is not None:
        parts["data.root"] = config.data.root
    parts["rates"] = rates
    words = [override(key, str(value)) for key, value in parts.items()]
    words += [
        given
        for given in given_overrides()
        if (key := key_of(given)).startswith(("model.", "data.")) and key not in parts
    ]
    return " ".join(["python train.py", *(shlex.quote(word) for word in words)])
