"""Loggers of a run: metrics.csv always, Weights & Biases when asked for."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger, WandbLogger

from callbacks.metrics_csv import MetricsCsv
from secateur.errors import InputError
from secateur.workflows.run_folder import RunFolder, plain

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
    checkpoint = torch.load(run.checkpoint, map_location="cpu", weights_only=True)
    return int(checkpoint["global_step"])


def _wandb_logger(config: DictConfig, settings: DictConfig, run: RunFolder) -> WandbLogger:
    """One W&B run per run folder, laid out for comparing runs."""
    offline = settings.mode == "offline" or (
        settings.mode == "auto" and not os.environ.get("WANDB_API_KEY")
    )
    values = plain(config)
    identity = run.path / "wandb_id"
    if not identity.exists():
        identity.write_text(os.urandom(4).hex())
    criterion = str(values["pruning"]["criterion"])
    logger = WandbLogger(
        project=settings.project,
        name=run.path.parent.name if run.path.parent.name else run.path.name,
        id=identity.read_text().strip(),
        resume="allow",
        group=settings.group or f"{config.model.name}-{config.data.name}",
        job_type=settings.job_type,
        tags=[config.model.name, criterion, config.data.name],
        save_dir=str(run.path),
        offline=offline,
        log_model=False,
        config={**_numeric_rates(config), **values},
    )
    for name, summary in BEST.items():
        logger.experiment.define_metric(name, summary=summary)
    return logger


def _numeric_rates(config: DictConfig) -> dict[str, float]:
    """Rates as flat numbers, which parallel coordinates and scatter plots need."""
    rates = config.rates if isinstance(config.rates, DictConfig) else {}
    return {f"rate_{group}": float(rate) for group, rate in rates.items() if rate is not None}


def log_summary(loggers: list[Logger], values: Mapping[str, Any]) -> None:
    """Put the final record where the runs table of W&B shows it."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(dict(values))
