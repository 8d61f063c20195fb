"""Loggers of a run: metrics.csv always, Weights & Biases when asked for."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from secateur.errors import InputError
from secateur.files import atomic_write
from secateur.readers import read_text
from secateur.reports.metrics_file import MetricRow, append_metrics, read_metrics, start_metrics
from secateur.workflows.checkpoints import read_resume_point
from secateur.workflows.pruning_config import group_rates, pruning_groups
from secateur.workflows.run_folder import RunFolder, plain
from secateur.workflows.sweep import SweepJob, sweep_job

log = logging.getLogger(__name__)

BEST = {
    "val/ap_easy": "max",
    "val/ap_medium": "max",
    "val/ap_hard": "max",
    "val/accuracy": "max",
    "val/eer": "min",
    "val/auc": "max",
    "train/loss": "min",
}


@contextmanager
def open_loggers(config: DictConfig, run: RunFolder) -> Iterator[list[Logger]]:
    """Loggers for the time of a run; Weights & Biases is finished whatever happens.

    Without ``finish`` two runs in one process would share one id (wandb issue 1314).

    Raises:
        InputError: If logger=wandb is asked for without the package.
    """
    loggers: list[Logger] = [MetricsCsv(run.path / "metrics.csv", _resumed_step(run))]
    settings = config.logger.wandb
    if settings is None:
        yield loggers
        return
    if importlib.util.find_spec("wandb") is None:
        raise InputError("logger=wandb needs the package wandb: pip install 'secateur[wandb]'")
    loggers.append(_wandb_logger(config, settings, run))
    status = 1
    try:
        yield loggers
        status = 0
    finally:
        import wandb

        wandb.finish(exit_code=status)


def _resumed_step(run: RunFolder) -> int | None:
    if run.checkpoint is None:
        return None
    return read_resume_point(run.checkpoint).step


def _wandb_logger(config: DictConfig, settings: DictConfig, run: RunFolder) -> WandbLogger:
    """One W&B run per run folder, laid out for comparing runs."""
    offline = settings.mode == "offline" or (
        settings.mode == "auto" and not os.environ.get("WANDB_API_KEY")
    )
    values = plain(config)
    job = sweep_job()
    identity = run.path / "wandb_id"
    if not identity.exists():
        atomic_write(identity, os.urandom(4).hex())
    criterion = str(values["pruning"]["criterion"])
    logger = WandbLogger(
        project=settings.project,
        name=f"{run.path.parent.name}-{run.path.name}" if job else run.path.parent.name,
        id=_wandb_identity(identity),
        resume="allow",
        group=settings.group or (job.group if job else f"{config.model.name}-{config.data.name}"),
        job_type=settings.job_type,
        tags=[config.model.name, criterion, config.data.name],
        save_dir=str(run.path),
        offline=offline,
        log_model=False,
        config={**values, **flat_numbers(config), **_place_in_sweep(config, job)},
    )
    for name, summary in BEST.items():
        logger.experiment.define_metric(name, summary=summary)
    return logger


def _wandb_identity(path: Path) -> str:
    """The identity that a run keeps over all its commands."""
    remedy = "delete it, and the run gets another page of Weights & Biases"
    text = read_text(path, remedy, limit=1000).strip()
    if not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", text):
        raise InputError(f"{path} holds no identity of a run: {remedy}")
    return text


def flat_numbers(config: DictConfig) -> dict[str, float]:
    """Rates as flat numbers, which parallel coordinates and scatter plots need.

    Args:
        config: Configuration of the run.

    Returns:
        ``rate`` and, for every group, ``rates/GROUP``: its own rate or the common one, so that all
        runs of a sweep have a value on every axis. Empty where nothing is pruned.
    """
    if config.pruning.criterion is None:
        return {}
    common, own = float(config.rate), group_rates(config)
    groups = [*pruning_groups(config), *own]
    return {"rate": common, **{f"rates/{name}": own.get(name, common) for name in groups}}


def _place_in_sweep(config: DictConfig, job: SweepJob | None) -> dict[str, str | int]:
    """Sweep, job and trial; empty outside a sweep."""
    if job is None:
        return {}
    place: dict[str, str | int] = {"sweep/name": job.group, "sweep/job": job.number}
    if config.get("trial"):
        place["sweep/trial"] = int(config.trial.number)
    return place


def log_objective(
    loggers: list[Logger], config: DictConfig, value: float | list[float | None] | None
) -> None:
    """Put what a sweep optimises into the summary: ``objective``, or one per name of several."""
    if isinstance(value, list):
        names = [str(name) for name in config.trial.objective]
        found = {f"objective/{name}": one for name, one in zip(names, value, strict=True)}
    else:
        found = {"objective": value}
    log_summary(loggers, {name: one for name, one in found.items() if one is not None})


def log_summary(loggers: list[Logger], values: Mapping[str, Any]) -> None:
    """Put the final record where the runs table of W&B shows it."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(dict(values))


class MetricsCsv(Logger):
    """Append one row per value: epoch, step, name, value.

    Lightning's own CSV logger keeps everything in memory, rewrites the file and deletes it when
    a run is resumed; appending rows loses nothing.

    Args:
        path: File to write.
        resumed_from: Step of the checkpoint that the run continues from; rows after it, written
            by the part of the run that was lost, are dropped. None starts a new file.
    """

    def __init__(self, path: Path, resumed_from: int | None = None) -> None:
        super().__init__()
        self.path = path
        kept: list[MetricRow] = []
        if resumed_from is not None and path.exists():
            try:
                kept = [row for row in read_metrics(path) if row.step <= resumed_from]
            except InputError as error:
                log.warning("%s", error)
        start_metrics(path, kept)

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """The file has no versions."""
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> Path:
        """The file."""
        return self.path

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append values."""
        epoch = metrics.get("epoch")
        append_metrics(
            self.path,
            (
                MetricRow(None if epoch is None else int(epoch), step or 0, name, float(value))
                for name, value in metrics.items()
                if name != "epoch"
            ),
        )

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        """The configuration is saved as config.yaml."""
