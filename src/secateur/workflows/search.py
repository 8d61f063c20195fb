"""The rate search: configuration -> study -> rates.yaml, tables and plots."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.pruning.pruner import Pruner
from secateur.pruning.targets import NominalSparsity
from secateur.reports.files import atomic_write, write_json
from secateur.reports.search_plots import plot_history, plot_importance, plot_size_front
from secateur.reports.tables import NOTHING, percent, print_table
from secateur.search.crew import Assignment, run_crew
from secateur.search.exact_space import ExactSpace
from secateur.search.face_objective import ObjectiveSettings, make_objective
from secateur.search.front_space import FrontSpace
from secateur.search.levels import Levels, make_levels
from secateur.search.progress import SearchProgress
from secateur.search.published_space import PublishedSpace, highest_rate
from secateur.search.records import (
    TrialRecord,
    best,
    completed,
    front,
    importances,
    read_trial,
    write_trials,
)
from secateur.search.sampling import SamplerSettings, StagedSampler, StartupPoints
from secateur.search.study import RateStudy
from secateur.search.trial_network import TrialNetwork
from secateur.search.worker import Evaluation, Identify, Space
from secateur.workflows.build import build_data, build_network, excluded_layers, pruning_groups
from secateur.workflows.run_folder import RunFolder, open_run_folder

log = logging.getLogger(__name__)

TRACE_SIZE = 128  # pixels; which batch norm follows a layer does not depend on the picture


def search(config: DictConfig) -> float | None:
    """Search the rates of groups.

    Args:
        config: Composed ``conf/search.yaml``.

    Returns:
        The best objective, which a sweep may optimise.
    """
    started = time.perf_counter()
    run = open_run_folder(config, _run_name(config))
    log.info("run folder: %s", run.path)
    assignment = build_assignment(config, run)
    with SearchProgress(assignment.n_trials) as progress:
        study = run_crew(assignment, int(config.n_workers), progress.update)
    return write_results(config, run, assignment, study, time.perf_counter() - started)


def build_assignment(config: DictConfig, run: RunFolder) -> Assignment:
    """Everything that a worker needs, from the configuration.

    Raises:
        InputError: If something in it is impossible.
    """
    if config.model.task != "detection":
        raise InputError(f"search.py knows detectors only, and {config.model.name} is none")
    if int(config.n_trials) < 1:
        raise InputError(f"n_trials must be at least 1, got {config.n_trials}")
    torch.manual_seed(int(config.seed))
    network, _ = build_network(config)
    network.to(memory_format=torch.channels_last)
    network.eval()
    pruner = Pruner(
        network,
        (torch.zeros(1, 3, TRACE_SIZE, TRACE_SIZE),),
        criterion=str(config.pruning.criterion),
        rate=0.0,
        groups=pruning_groups(config),
        exclude=excluded_layers(config),
        mask_batchnorm=bool(config.pruning.mask_batchnorm),
    )
    scores = pruner.score()
    levels, start = build_levels(config, pruner, scores)
    space = build_space(config, levels, start)
    trial_network = TrialNetwork(network, scores, pruner.batchnorms, levels)
    data = build_data(config)
    data.prepare_data()
    data.setup("fit")
    log.info("%s", data.describe())
    evaluate = make_objective(
        trial_network,
        data.training_pictures(),
        data.holdout_pictures(),
        ObjectiveSettings(**config.objective),
        int(config.search_size),
        _train_steps(config.train_steps),
        int(config.seed),
    )
    return Assignment(
        storage=str(config.storage or run.path / "study.journal"),
        name=str(config.study),
        sampler=build_sampler(config, space, evaluate),
        n_trials=int(config.n_trials),
        n_objectives=2 if isinstance(space, FrontSpace) else 1,
        identity=_identity(config, network),
        stale_after=float(config.stale_after),
        space=space,
        evaluate=evaluate,
    )


def build_levels(
    config: DictConfig, pruner: Pruner, scores: dict[str, Tensor]
) -> tuple[dict[str, Levels], float]:
    """Levels of every group that has layers, and what is gone before any rate.

    Raises:
        InputError: If there are no groups or the quantity is unknown.
    """
    groups = {name: layers for name, layers in pruner.groups.items() if layers}
    if not groups:
        raise InputError("a search needs groups: set pruning.groups to a table or to patterns")
    if config.quantity != "sparsity":
        raise InputError(f"quantity must be sparsity, got {config.quantity}")
    weigh = NominalSparsity(pruner.model, pruner.layers, pruner.batchnorms)
    highest = (
        highest_rate(float(config.target))
        if config.space.kind == "published"
        else float(config.space.highest_rate)
    )
    if not 0 < highest < 1:
        raise InputError(f"space.highest_rate must be between 0 and 1, got {highest:g}")
    levels = {name: make_levels(layers, scores, weigh, highest) for name, layers in groups.items()}
    return levels, weigh({})


def build_space(config: DictConfig, levels: dict[str, Levels], start: float) -> Space:
    """The space of ``space=``.

    Raises:
        InputError: If there is none of that kind or the target is impossible.
    """
    target = float(config.target)
    kind = str(config.space.kind)
    if kind == "exact":
        return ExactSpace(levels, target, start)
    if kind == "front":
        return FrontSpace(levels, target, start, float(config.space.lowest_target))
    if kind == "published":
        return PublishedSpace(
            levels,
            target,
            start,
            penalty_weight=float(config.space.penalty_weight),
            shortfall_weight=float(config.space.shortfall_weight),
        )
    raise InputError(f"space.kind={kind} does not exist; choose exact, published or front")


def build_sampler(config: DictConfig, space: Space, evaluate: Evaluation) -> StagedSampler:
    """The sampler of ``sampler=``; its first point prunes all groups alike."""
    seed = int(config.seed)
    first = (
        space.probe()
        if isinstance(space, PublishedSpace)
        else {name: high for name, (_, high) in space.variables.items()}
    )
    points = StartupPoints(space.variables, seed, first)
    # The published search may try a point again.
    identify = None if isinstance(space, PublishedSpace) else Identify(space, evaluate)
    return StagedSampler(SamplerSettings(**config.sampler), points, seed, identify)


def write_results(
    config: DictConfig, run: RunFolder, assignment: Assignment, study: RateStudy, seconds: float
) -> float | None:
    """Everything in the run folder, and the closing table."""
    records = [read_trial(trial) for trial in study.trials()]
    write_trials(run.path / "trials.csv", records)
    found = best(records)
    fronts = front(records)
    chosen = fronts[-1] if isinstance(assignment.space, FrontSpace) and fronts else found
    summary = _summary(config, records, found, seconds)
    _draw(config, run.path / "plots", records, fronts)
    if chosen is not None:
        _write_rates(run.path / "rates.yaml", config, chosen)
    if isinstance(assignment.space, FrontSpace):
        write_trials(run.path / "front.csv", fronts)
    _closing_table(config, summary, fronts if isinstance(assignment.space, FrontSpace) else [])
    write_json(run.summary, summary)
    log.info("run folder: %s", run.path)
    if chosen is None:
        log.warning("no trial was feasible, so there is no rates.yaml: try space=exact")
        return None
    log.info("python train.py model=%s rates=%s", config.model.name, run.path / "rates.yaml")
    return chosen.objective


def _summary(
    config: DictConfig, records: list[TrialRecord], found: TrialRecord | None, seconds: float
) -> dict[str, Any]:
    """The flat record of the search."""
    done = completed(records)
    states = [record.state for record in records]
    summary: dict[str, Any] = {
        "task": "search",
        "model": config.model.name,
        "criterion": config.pruning.criterion,
        "space": config.space.kind,
        "sampler": config.sampler.kind,
        "objective": config.objective.kind,
        "quantity": config.quantity,
        "target": float(config.target),
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
        "trial_seconds": sum(record.seconds or 0.0 for record in done),
        "wall_seconds": seconds,
    }
    if found is not None:
        summary |= {
            "best_objective": found.objective,
            "best_trial": found.number,
            "best_removed": found.removed,
            "rates": found.rates,
        }
    return summary


def _closing_table(config: DictConfig, summary: dict[str, Any], fronts: list[TrialRecord]) -> None:
    """What was found, for the terminal."""
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
            [f"its {config.quantity}", percent(summary["best_removed"])],
            *([f"rate of {group}", f"{rate:.4f}"] for group, rate in summary["rates"].items()),
        ]
    title = f"{summary['model']} · {summary['space']} · {summary['sampler']}"
    print_table(title, ["", f"target {percent(float(config.target))}"], rows)
    if fronts:
        print_table(
            "front of size against quality",
            [str(config.quantity), str(config.objective.kind)],
            [
                [
                    percent(record.removed),
                    NOTHING if record.objective is None else f"{record.objective:.4f}",
                ]
                for record in fronts
            ],
        )


def _draw(
    config: DictConfig, folder: Path, records: list[TrialRecord], fronts: list[TrialRecord]
) -> None:
    """The three plots."""
    quantity = "AP on held-out pictures" if config.objective.kind == "ap" else "minus held-out loss"
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
        size=str(config.quantity),
        quantity=quantity,
    )


def _write_rates(path: Path, config: DictConfig, found: TrialRecord) -> None:
    """The file for ``train.py rates=``."""
    text = (
        f"# {config.model.name}, {config.pruning.criterion}: {config.quantity} "
        f"{found.removed:.4f} for a target of {float(config.target):g}; trial {found.number}, "
        f"objective {found.objective:.4f}\n"
        f"#   python train.py model={config.model.name} pruning={config.pruning.criterion} "
        f"rates={path}\n"
    )
    atomic_write(path, text + OmegaConf.to_yaml(OmegaConf.create({"rates": found.rates})))


def _run_name(config: DictConfig) -> str:
    return (
        f"search-{config.model.name}-{config.space.kind}-{config.sampler.kind}"
        f"-{float(config.target):g}-seed{config.seed}"
    )


def _train_steps(wanted: object) -> int | Literal["epoch"]:
    if wanted == "epoch":
        return "epoch"
    if isinstance(wanted, int) and wanted >= 0:
        return wanted
    raise InputError(f"train_steps must be 0, a number of steps or epoch, got {wanted}")


def _identity(config: DictConfig, network: nn.Module) -> str:
    """What machines that share a study must have in common, wherever their files lie."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    parts = ("pruning", "space", "sampler", "objective")
    keys = ("target", "quantity", "train_steps", "search_size", "holdout", "seed")
    settings: dict[str, Any] = {
        **{part: OmegaConf.to_container(config[part], resolve=True) for part in parts},
        **{key: config[key] for key in keys},
        "data": config.data.name,
    }
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()[:16]
