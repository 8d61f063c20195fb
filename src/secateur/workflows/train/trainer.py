"""Trainer: Lightning's, with the callbacks that every run has and those of the configuration."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import get_class
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint, ProgressBar
from torch import nn

from secateur.callbacks.dense_weights import DenseWeights
from secateur.callbacks.phase_checkpoint import PhaseCheckpoint
from secateur.callbacks.progress_line import build_progress
from secateur.callbacks.pruning_curve import PruningCurve
from secateur.callbacks.soft_pruning import SoftPruningCallback
from secateur.callbacks.stage_recorder import StageRecorder
from secateur.callbacks.step_saver import StepSaver
from secateur.callbacks.taylor_statistics import TaylorStatisticsCallback
from secateur.callbacks.training_curves import TrainingCurves
from secateur.errors import InputError
from secateur.pruning.schedule import Schedule
from secateur.workflows.build import check_processes, instantiate, made_from
from secateur.workflows.checkpoints import CheckpointFiles
from secateur.workflows.config.addresses import current_address
from secateur.workflows.own_networks import builders
from secateur.workflows.run_folder import RunFolder
from secateur.workflows.train.recovery import MONITOR, build_average, recovers


def build_trainer(
    config: DictConfig,
    run: RunFolder,
    network: nn.Module,
    pruning: SoftPruningCallback | None,
    schedule: Schedule | None,
    recorder: StageRecorder,
    loggers: list[Any],
    architecture: dict[str, Any],
) -> pl.Trainer:
    """The trainer with the callbacks that every run has and those of the configuration."""
    callbacks: list[pl.Callback] = []
    epochs = int(config.phases.dense_epochs)
    if pruning is not None and schedule is not None:
        if pruning.pruner.needs_statistics and schedule.kind != "held":
            callbacks.append(TaylorStatisticsCallback(pruning.pruner, schedule))
        callbacks.append(pruning)
        epochs = schedule.total_epochs
    # After the masks, so that it averages what is held.
    if (average := build_average(config, network, pruning)) is not None:
        callbacks.append(average)
    best = MONITOR if recovers(config) and config.model.task == "detection" else config.data.monitor
    chosen = [
        build_callback(f"callbacks.{name}", node, run.path)
        for name, node in config.callbacks.items()
        if node
    ]
    for callback in chosen:
        if isinstance(callback, PruningCurve):
            callback.saver = step_saver(config, run, architecture, pruning)
    has_bar = any(isinstance(callback, ProgressBar) for callback in chosen)
    if config.trainer.enable_progress_bar and not has_bar:
        callbacks.append(build_progress(best))
    callbacks += [
        recorder,
        DenseWeights(run.checkpoints, architecture, schedule),
        TrainingCurves(pruning),
        *chosen,
        # Last, so that they save what the others did. One for each, because save_last=True saves
        # only where the best one is saved too (pytorch_lightning 2.6).
        *(
            PhaseCheckpoint(run.checkpoints, kind, schedule, best, config.data.mode)
            for kind in ("dense", "pruned")
        ),
        ModelCheckpoint(
            dirpath=run.checkpoints,
            filename="last",
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        ),
    ]
    plugins: list[Any] = [CheckpointFiles()]
    if SLURMEnvironment.detect():
        # submitit requeues a job already, and the run then goes on in its folder
        plugins.append(SLURMEnvironment(auto_requeue=False))
    ours: dict[str, Any] = {
        "max_epochs": epochs,
        "callbacks": callbacks,
        "logger": loggers,
        "default_root_dir": run.path,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "use_distributed_sampler": False,
        "plugins": plugins,
        "enable_model_summary": False,
    }
    if taken := sorted(ours.keys() & config.trainer.keys()):
        raise InputError(
            f"trainer.{taken[0]} is set by this program (phases.* give the epochs, callbacks and "
            "logger are groups of their own): leave it out"
        )
    check_processes(config.trainer)
    with made_from("trainer"):
        return pl.Trainer(**config.trainer, **ours)


def step_saver(
    config: DictConfig,
    run: RunFolder,
    architecture: dict[str, Any],
    pruning: SoftPruningCallback | None = None,
) -> StepSaver:
    """What saves the slim network after each step of an iterative pruning."""
    align = int(config.pruning.get("align", 1))  # pruning=none has none
    equal = bool(config.pruning.get("equal", True))
    size = int(config.data.input_size)
    traced = pruning.pruner.traced if pruning is not None else None
    return StepSaver(
        *(run.path, architecture, builders(config), size), align=align, equal=equal, traced=traced
    )


def build_callback(key: str, node: object, folder: Path) -> pl.Callback:
    """A callback of the configuration, ours or a stock one of Lightning.

    Args:
        key: Of the configuration, for errors.
        node: Its ``_target_`` and arguments.
        folder: Run folder, which a callback that has an argument ``folder`` is given.

    Raises:
        InputError: If it describes no callback.
    """
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise InputError(
            f"{key}={node} describes no callback: it needs the _target_ of one, or say {key}=null"
        )
    with made_from(key):
        kind = get_class(current_address(str(node["_target_"])))
        wanted = "folder" in inspect.signature(kind).parameters and "folder" not in node
        callback: pl.Callback = instantiate(node, **({"folder": folder} if wanted else {}))
    if not isinstance(callback, pl.Callback):
        raise InputError(
            f"{key}._target_={node['_target_']} is no pytorch_lightning.Callback: name a class of "
            f"one, or say {key}=null"
        )
    return callback
