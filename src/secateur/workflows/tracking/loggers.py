"""Loggers of a run: metrics.csv always, Weights & Biases when asked for."""

from __future__ import annotations

import inspect
import logging
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_class
from lightning_fabric.loggers.logger import rank_zero_experiment
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from secateur.errors import InputError
from secateur.readers import read_json
from secateur.reports.metrics_file import MetricRow, append_metrics, read_metrics, start_metrics
from secateur.workflows.build import instantiate
from secateur.workflows.checkpoints import read_resume_point
from secateur.workflows.config.pruning_config import group_rates, pruning_groups
from secateur.workflows.run_folder import RunFolder, plain
from secateur.workflows.tracking.wandb_run import (
    log_files,
    log_layers,
    log_pictures,
    run_arguments,
    summary_values,
    tell_how_to_upload,
    wandb_settings,
)

_SLIM = ("model.safetensors", "model.json", "pruning.json", "config.yaml")

log = logging.getLogger(__name__)


@contextmanager
def open_loggers(config: DictConfig, run: RunFolder, name: str) -> Iterator[list[Logger]]:
    """Loggers for the time of a run; Weights & Biases is finished whatever happens.

    Args:
        config: Configuration of the run.
        run: Its folder.
        name: What was composed, such as ``eresfd-fpgm-0.3``.

    Without ``finish`` two runs in one process would share one id (wandb issue 1314).

    Raises:
        InputError: If logger=wandb is asked for without the package.
    """
    loggers: list[Logger] = [MetricsCsv(run.path / "metrics.csv", _resumed_step(run))]
    loggers += [_by_target(name, node, run) for name, node in config.logger.items() if _made(node)]
    for logger in loggers[1:]:
        logger.log_hyperparams({**_flat(plain(config)), **flat_numbers(config)})
    if wandb_settings(config) is None:
        yield loggers
        return
    loggers.append(_wandb_logger(config, run, name))
    status = 1
    try:
        yield loggers
        status = 0
    finally:
        import wandb

        wandb.finish(exit_code=status)
        if status == 0:
            tell_how_to_upload(config, run.path)


def _made(node: object) -> bool:
    """Whether a node of ``logger`` says what to make."""
    return isinstance(node, DictConfig) and "_target_" in node


def _by_target(name: object, node: DictConfig, run: RunFolder) -> Logger:
    """A Lightning logger; one that writes files writes into the run folder."""
    try:
        known = inspect.signature(get_class(str(node["_target_"]))).parameters
        wanted = "save_dir" in known and "save_dir" not in node
        made = instantiate(node, **({"save_dir": str(run.path)} if wanted else {}))
        _ = made.experiment  # what it needs is missing now rather than after the first epoch
    except (ImportError, InstantiationException) as error:
        # Hydra puts its own words in front of what the logger said
        what = next(iter(str(error.__cause__ or error).splitlines()), type(error).__name__)
        raise InputError(f"logger.{name} cannot be made: {what}") from error
    assert isinstance(made, Logger)
    return made


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values under dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _resumed_step(run: RunFolder) -> int | None:
    if run.checkpoint is None:
        return None
    return read_resume_point(run.checkpoint).step


def _wandb_logger(config: DictConfig, run: RunFolder, name: str) -> WandbLogger:
    """One W&B run per run folder, laid out for comparing runs."""
    arguments = run_arguments(config, run.path, name, values=flat_numbers(config))
    if getattr(rank_zero_only, "rank", 0) > 0:
        return WandbLogger(save_dir=str(run.path))  # says nothing beside the first process
    import wandb

    # not by the logger itself, which sets what current versions of wandb warn of
    logger = WandbLogger(save_dir=str(run.path), experiment=wandb.init(**arguments))
    # The best of a curve is that of the dense phase: only final/ tells of the slim network.
    logger.experiment.define_metric("val/*", summary="none")
    return logger


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
    """Put the final record where the runs table of a dashboard shows it.

    Args:
        loggers: Loggers of the run.
        values: The record under its logged names; numbers go to loggers without a summary.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(dict(values))
        elif not isinstance(logger, MetricsCsv):
            numbers = {k: float(v) for k, v in values.items() if isinstance(v, int | float)}
            logger.log_metrics(numbers)


def log_outcome(
    loggers: list[Logger],
    config: DictConfig,
    folder: Path,
    summary: Mapping[str, Any],
    made_from: Sequence[Path] = (),
) -> None:
    """Tell loggers what came out: figures, and for W&B tables, plots and the slim network.

    Args:
        loggers: Loggers of the run.
        config: Its configuration.
        folder: Its folder.
        summary: Its record.
        made_from: Weights and rates that it began with.
    """
    log_summary(loggers, summary_values(summary))
    for logger in loggers:
        if not isinstance(logger, WandbLogger):
            continue
        run = logger.experiment
        report = folder / "pruning.json"
        if report.is_file():
            content = read_json(report, "train again to rewrite it")
            assert isinstance(content, dict)
            log_layers(run, content["layers"])
        log_pictures(run, folder / "plots")
        settings = wandb_settings(config)
        if settings is not None and settings.get("log_model", True):
            files = [folder / file for file in _SLIM]
            figures = summary_values(summary)
            name = f"{run.name}-slim"
            log_files(run, name, "model", files, made_from=made_from, metadata=figures)


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
