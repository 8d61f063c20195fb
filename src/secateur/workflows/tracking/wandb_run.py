"""Weights & Biases: what a training, search, evaluation, recipe or study tells it.

The names are those of `secateur.metrics.names`: ``dense/``, ``pruned/`` and ``final/`` in front of
a figure say of which network it is, and only ``final/`` is the slim one.
"""

from __future__ import annotations

import csv
import importlib.util
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only

from secateur.errors import InputError
from secateur.files import atomic_write
from secateur.metrics.names import QUALITY, STAGES, ratios
from secateur.readers import read_text
from secateur.reports.pictures import MatchedPicture
from secateur.reports.wandb_pictures import wandb_table
from secateur.workflows.run_folder import plain
from secateur.workflows.sweep import SweepJob, sweep_job

log = logging.getLogger(__name__)

IDENTITY = "wandb_id"
_MOST_ROWS = 5000  # of a table: more is slow to show, and the whole file is an artifact beside it


def wandb_settings(config: DictConfig) -> DictConfig | None:
    """The node ``logger.wandb``, or None where nothing is told to Weights & Biases.

    Raises:
        InputError: If it is asked for without the package.
    """
    node = config.get("logger")
    settings = None if node is None else node.get("wandb")
    if settings is not None and importlib.util.find_spec("wandb") is None:
        raise InputError("logger=wandb needs the package wandb: pip install 'secateur[wandb]'")
    found: DictConfig | None = settings
    return found


def run_arguments(
    config: DictConfig,
    folder: Path,
    name: str,
    *,
    job_type: str | None = None,
    group: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Arguments of ``wandb.init`` for the run of a folder.

    Args:
        config: Configuration of the command.
        folder: Its run folder, in which the run keeps its identity over all its commands.
        name: What was composed, such as ``eresfd-fpgm-0.3``.
        job_type: ``train``, ``search``, ``evaluate``, ``recipe`` or ``study``; None takes that of
            the configuration.
        group: What the run is part of; None takes that of the configuration, else the sweep, else
            model and data.
        values: Further values for the configuration that W&B shows.

    Returns:
        Arguments; a job of a sweep has its number at the end of the name.
    """
    settings = wandb_settings(config)
    assert settings is not None
    job = sweep_job()
    model, data = config.model.name, config.data.name
    criterion = config.pruning.criterion if config.get("pruning") else None
    offline = is_offline(settings)
    tags = (model, criterion, data, *(settings.get("tags") or ()))
    return {
        "project": settings.project,
        "entity": settings.get("entity"),
        "name": settings.get("name") or (f"{name}-{job.number}" if job else name),
        "id": _identity(folder),
        "resume": "allow",
        "group": settings.group or group or (job.group if job else f"{model}-{data}"),
        "job_type": job_type or settings.job_type,
        "tags": list(dict.fromkeys(str(tag) for tag in tags if tag)),
        "notes": settings.get("notes"),
        "dir": str(folder),
        "mode": "offline" if offline else "online",
        "config": {**plain(config), **(values or {}), **place_in_sweep(config, job)},
    }


def is_offline(settings: DictConfig) -> bool:
    """Whether runs are written to disk alone."""
    mode = settings.mode
    return bool(mode == "offline" or (mode == "auto" and not os.environ.get("WANDB_API_KEY")))


def place_in_sweep(config: DictConfig, job: SweepJob | None) -> dict[str, str | int]:
    """Sweep, job and trial; empty outside a sweep."""
    if job is None:
        return {}
    place: dict[str, str | int] = {"sweep/name": job.group, "sweep/job": job.number}
    if config.get("trial"):
        place["sweep/trial"] = int(config.trial.number)
    return place


@contextmanager
def tracked_run(
    config: DictConfig, folder: Path, name: str, **arguments: Any
) -> Iterator[Any | None]:
    """A W&B run for the time of a command; None where there is none, or on further processes.

    Args:
        config: Configuration of the command.
        folder: Its run folder.
        name: What was composed.
        **arguments: Further ones of `run_arguments`.
    """
    if wandb_settings(config) is None or getattr(rank_zero_only, "rank", 0) > 0:
        yield None
        return
    import wandb

    run = wandb.init(**run_arguments(config, folder, name, **arguments))
    status = 1
    try:
        yield run
        status = 0
    finally:
        run.finish(exit_code=status)
        if status == 0:
            tell_how_to_upload(config, folder)


def tell_how_to_upload(config: DictConfig, folder: Path) -> None:
    """Say which command uploads what was written offline."""
    settings = wandb_settings(config)
    if settings is not None and is_offline(settings):
        log.info("offline: wandb sync %s/wandb/offline-run-*", folder)


def summary_values(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a run under the names that W&B shows.

    Args:
        summary: By the keys of ``summary.json``.

    Returns:
        ``final/ap_hard`` of the slim network, ``dense/...`` and ``pruned/...`` of those before,
        sizes, and their ratios.

    Example:
        >>> summary_values({"ap_hard": 0.7, "ap_hard_start": 0.8, "params_slim": 3})
        {'dense/ap_hard': 0.8, 'final/ap_hard': 0.7, 'params_slim': 3, 'ap_drop': 0.1}
    """
    keys = {
        f"{figure.name}{stage.suffix}": f"{stage.prefix}/{figure.name}"
        for stage in STAGES
        for figure in QUALITY
    }
    values = {name: summary[key] for key, name in keys.items() if key in summary}
    values |= {key: value for key, value in summary.items() if key not in keys and key != "rates"}
    return values | ratios(summary)


def log_files(
    run: Any,
    name: str,
    kind: str,
    files: Sequence[Path],
    *,
    made_from: Sequence[Path] = (),
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Log files as one artifact, and what they were made from as its inputs.

    Offline, W&B can use no artifact; the identities of the runs that made them then stand in the
    configuration under ``made_from``.

    Args:
        run: The W&B run.
        name: Name of the artifact.
        kind: ``model``, ``rates`` or ``evaluation``.
        files: The files; those that do not exist are left out.
        made_from: Folders or files of runs that this one began with.
        metadata: Figures to keep with the artifact.
    """
    import wandb

    sources = [identity for path in made_from if (identity := identity_near(path))]
    if sources:
        run.config.update({"made_from": sources}, allow_val_change=True)
    artifact = wandb.Artifact(_artifact_name(name), kind, metadata=dict(metadata or {}))
    for path in files:
        if path.is_file():
            artifact.add_file(str(path), name=path.name)
    if not run.offline:
        for source in sources:
            for found in wandb.Api().run(f"{run.entity}/{run.project}/{source}").logged_artifacts():
                if found.type in ("model", "rates"):
                    run.use_artifact(found)
    run.log_artifact(artifact)


def log_pictures(run: Any, folder: Path) -> None:
    """Log the plots of a folder under ``plots/NAME``."""
    import wandb

    plots = sorted(folder.glob("*.png"))
    if plots:
        run.log({f"plots/{path.stem}": wandb.Image(str(path)) for path in plots})


def log_search(
    run: Any, folder: Path, summary: Mapping[str, Any], made_from: Sequence[Path] = ()
) -> None:
    """Log a search: its figures, a table of its trials, its plots, and the rates it found.

    Args:
        run: The W&B run.
        folder: Folder of the search.
        summary: Its record.
        made_from: The weights that it judged.
    """
    rates = summary.get("rates") or {}
    run.summary.update({key: value for key, value in summary.items() if key != "rates"})
    run.summary.update({f"rates/{group}": rate for group, rate in rates.items()})
    log_table(run, "trials", folder / "trials.csv")
    log_pictures(run, folder / "plots")
    files = [folder / "rates.yaml", folder / "trials.csv"]
    log_files(run, f"{run.name}-rates", "rates", files, made_from=made_from, metadata=summary)


def log_evaluation(
    config: DictConfig,
    folder: Path,
    record: Mapping[str, Any],
    pictures: Sequence[MatchedPicture] = (),
) -> None:
    """Log an evaluation as a run of its own: figures, curves, plots, and what it measured.

    Args:
        config: Composed ``conf/evaluate.yaml``.
        folder: Folder of the evaluation.
        record: As its JSON file holds it.
        pictures: Some pictures with their boxes, for a table.
    """
    what, data = str(record["name"]), str(record.get("data", config.data.name))
    if what.isdecimal():  # a job of a sweep, which its number alone does not tell from others
        what = f"{Path(str(record.get('path', ''))).parent.name}-{what}"
    name, group = f"{what}-{data}", f"{config.model.name}-{data}"
    with tracked_run(config, folder, name, job_type="evaluate", group=group) as run:
        if run is None:
            return
        figures = {f"final/ap_{key}": value for key, value in (record.get("ap") or {}).items()}
        known = {figure.name for figure in QUALITY}
        figures |= {f"final/{key}": record[key] for key in known & record.keys()}
        sizes = {"params_slim": "parameters", "params_nonzero": "nonzero_parameters"}
        figures |= {ours: record[key] for ours, key in sizes.items() if key in record}
        run.summary.update(figures)
        for table in sorted(folder.glob("*.csv")):
            log_table(run, table.stem, table)
        log_pictures(run, folder / "plots")
        if pictures:
            run.log({"pictures": wandb_table(pictures)})
        sources = [Path(str(path)) for key in ("run", "weights") if (path := config.get(key))]
        files = sorted((*folder.glob("*.json"), *folder.glob("*.csv")))
        log_files(run, name, "evaluation", files, made_from=sources, metadata=figures)


def log_table(run: Any, name: str, path: Path) -> None:
    """Log a CSV file as a table; numbers are numbers."""
    import wandb

    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    if head and rows:
        table = wandb.Table(
            columns=[*head], data=[list(map(_number, row)) for row in rows[:_MOST_ROWS]]
        )
        run.log({name: table})


def log_layers(run: Any, layers: Sequence[Mapping[str, Any]]) -> None:
    """Log the filters of each layer as a table.

    Args:
        run: The W&B run.
        layers: As of ``pruning.json``.
    """
    import wandb

    names = ("name", "group", "rate", "filters", "kept", "slim", "parameters", "parameters_slim")
    columns = [name for name in (*names, "macs", "macs_slim") if any(name in row for row in layers)]
    data = [[row.get(name) for name in columns] for row in layers]
    run.log({"layers": wandb.Table(columns=[*columns], data=data)})


def identity_near(path: Path) -> str | None:
    """Identity of the W&B run that a file or folder belongs to, where there is one."""
    for folder in (path, *path.parents[:2]):
        if (folder / IDENTITY).is_file():
            return _identity(folder)
    return None


def _identity(folder: Path) -> str:
    """The identity that a run keeps over all its commands."""
    path = folder / IDENTITY
    if not path.exists():
        atomic_write(path, os.urandom(4).hex())
    remedy = "delete it, and the run gets another page of Weights & Biases"
    text = read_text(path, remedy, limit=1000).strip()
    if not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", text):
        raise InputError(f"{path} holds no identity of a run: {remedy}")
    return text


def _artifact_name(text: str) -> str:
    return re.sub(r"[^0-9A-Za-z._-]+", "-", text)[:120]


def _number(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        return text or None
