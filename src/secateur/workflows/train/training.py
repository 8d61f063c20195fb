"""Training: train while pruning, hold the mask, slim, prove, evaluate, record."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, ListConfig
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from secateur.callbacks.soft_pruning import SoftPruningCallback
from secateur.callbacks.stage_recorder import StageRecorder
from secateur.errors import InputError
from secateur.pruning.artifact import trace_input
from secateur.pruning.pruner import Pruner
from secateur.pruning.schedule import Schedule
from secateur.reports.summary import read_summary
from secateur.runtime.allocator import keep_large_blocks
from secateur.runtime.denormals import denormals_as_zero
from secateur.slimming.graph.network_graph import trace
from secateur.tensor_files import read_torch
from secateur.workflows.build import (
    build_data,
    build_network,
    build_task,
    resolve_config,
    resolve_learning_rate,
)
from secateur.workflows.checkpoints import (
    BEST_PRUNED,
    find_resume_point,
    read_resume_point,
)
from secateur.workflows.config.pruning_config import (
    build_schedule,
    group_rates,
    pruning_settings,
    size_target,
    tell_dead_filters,
)
from secateur.workflows.library_messages import silence_libraries
from secateur.workflows.run_folder import RunFolder, open_run_folder
from secateur.workflows.tracking.loggers import log_objective, open_loggers
from secateur.workflows.train.finalize import RunFinalizer
from secateur.workflows.train.recovery import (
    build_repair,
    build_teacher,
    freeze,
    recovers,
    resolve_recovery,
)
from secateur.workflows.train.trainer import build_trainer

log = logging.getLogger(__name__)


def train(config: DictConfig) -> float | list[float | None] | None:
    """Run the main job.

    Args:
        config: Composed ``conf/train.yaml``.

    Returns:
        The figure that a sweep optimises, measured on the final slim network.
    """
    silence_libraries()
    keep_large_blocks()
    _check_precision(config)
    given = [Path(path) for path in (config.weights, config.rates) if isinstance(path, str)]
    config = resolve_learning_rate(resolve_recovery(resolve_config(config)))
    # A teacher runs in every step, and filters of trained networks are full of denormal numbers.
    computing = denormals_as_zero() if recovers(config) else nullcontext()
    with open_run_folder(config, run_name(config)).held() as run, computing:
        return _train_in(run, config, given)


def _train_in(
    run: RunFolder, config: DictConfig, made_from: Sequence[Path]
) -> float | list[float | None] | None:
    """Begin or continue the run of a folder that no other process works in."""
    if run.finished:
        log.info("%s is finished; resume=never starts another run", run.path)
        return objective(config, read_summary(run.summary))
    point = find_resume_point(run.checkpoints)
    run = replace(run, checkpoint=point.path if point else None)
    if point is not None:
        log.info("continuing %s from %s, %d epochs done", run.path, point.path.name, point.epochs)
    else:
        log.info("run folder: %s", run.path)
    pl.seed_everything(int(config.seed), workers=True, verbose=False)
    started = time.perf_counter()

    # On a CPU convolutions of few channels run about 1.4 times faster with channels last.
    network, architecture = build_network(config)
    network.to(memory_format=torch.channels_last)
    data = build_data(config, network)
    pruner, schedule = build_pruning(config, network)
    if pruner is not None and point is None:
        tell_dead_filters(config, pruner)
    data.prepare_data()
    data.setup("fit")
    log.info("%s", data.describe())

    with open_loggers(config, run, run_name(config)) as loggers:
        task = build_task(config, network, build_teacher(config, network))
        freeze(config, network)
        if point is not None:
            point.check_fits(task.state_dict())
        recorder = StageRecorder(schedule)
        pruning = None
        if pruner is not None and schedule is not None:
            repair = build_repair(config, network, data)
            pruning = SoftPruningCallback(pruner, schedule, repair)
        trainer = build_trainer(
            config, run, network, pruning, schedule, recorder, loggers, architecture
        )
        if run.checkpoint is None and schedule is not None and schedule.dense_epochs == 0:
            _validate_before(trainer, task, data, pruning, schedule, recorder)
        try:
            trainer.fit(task, datamodule=data, ckpt_path=run.checkpoint, weights_only=True)
        except SIGTERMException as error:
            log.warning("stopped by SIGTERM at step %d", trainer.global_step)
            # Lightning would exit with status 0, as if the run had come to its end.
            raise SystemExit(128 + signal.SIGTERM) from error
        slim_from = choose_epoch(config, run, task, pruning)
        finish = RunFinalizer(
            config, run, network, architecture, data, recorder, pruning, loggers, made_from
        )
        summary = finish(time.perf_counter() - started, slim_from)
        value = objective(config, summary)
        log_objective(loggers, config, value)
    return value


def finished_epochs(checkpoint: Path) -> int:
    """Number of epochs that a checkpoint has been trained."""
    return read_resume_point(checkpoint).epochs


def run_name(config: DictConfig) -> str:
    """Readable part of a run folder's name."""
    parts = [config.model.name, config.pruning.criterion or "dense"]
    if config.pruning.criterion:
        target = [f"{name}{value}" for name, value in size_target(config).items()]
        parts += target or ["rates" if group_rates(config) else f"{config.rate:g}"]
    return "-".join([*map(str, parts), str(config.data.name), f"seed{config.seed}"])


def objective(config: DictConfig, summary: dict[str, Any]) -> float | list[float | None] | None:
    """Value that a sweep optimizes: the monitored figure of the final network, or a named one.

    Raises:
        InputError: If the sweep asks for a figure that is not in the summary.
    """
    wanted = config.trial.get("objective") if config.get("trial") else None
    names = [wanted or str(config.data.monitor).removeprefix("val/")]
    if isinstance(wanted, ListConfig):
        names = [str(name) for name in wanted]
    if wanted and (unknown := [name for name in names if name not in summary]):
        raise InputError(
            f"hydra.sweeper.objective: summary.json has no {', '.join(unknown)}; "
            f"choose from {', '.join(sorted(summary))}"
        )
    values = [None if summary.get(name) is None else float(summary[name]) for name in names]
    return values if len(values) > 1 else values[0]


def example_input(config: DictConfig) -> Tensor:
    """One image of the training size, for tracing and counting."""
    size = int(config.data.input_size)
    return torch.zeros(1, 3, size, size)


def build_pruning(config: DictConfig, network: nn.Module) -> tuple[Pruner | None, Schedule | None]:
    """Pruner and schedule of the configuration, or nothing for plain training.

    Raises:
        InputError: If a layer, group or rate of the configuration does not fit the network.
    """
    if config.pruning.criterion is None:
        return None, None
    example = example_input(config)
    settings = pruning_settings(config)
    # Traced once: what slims the network in the end takes the graph over from the pruner.
    pruner = Pruner(network, (example,), settings, trace(network, trace_input(example)))
    schedule = build_schedule(config)
    held = schedule.kind == "held"
    if pruner.needs_statistics and schedule.prunes_before(0) and not held:
        raise InputError(
            f"pruning={pruner.criterion} scores filters by what happens in training, but a oneshot "
            "schedule without a dense epoch prunes before it: set phases.dense_epochs (with "
            "weights: phases.with_weights.dense_epochs) to 1 or take another schedule"
        )
    return pruner, schedule


def choose_epoch(
    config: DictConfig,
    run: RunFolder,
    task: pl.LightningModule,
    pruning: SoftPruningCallback | None,
) -> dict[str, Any]:
    """Put the weights of the epoch into the network that is to be slimmed.

    Args:
        config: Configuration of the run: ``slim_from`` is ``last`` or ``best``.
        run: Its folder.
        task: The trained task, changed for ``best``.
        pruning: Callback with the final mask; without one the last epoch is taken.

    Returns:
        What the summary says of it: ``slim_from`` and, for ``best``, the epoch, from 0.

    Raises:
        InputError: If ``slim_from`` is something else.
    """
    wanted = str(config.get("slim_from", "last"))
    if wanted not in ("last", "best"):
        raise InputError(f"slim_from={wanted} must be last or best")
    path = run.checkpoints / BEST_PRUNED
    if wanted == "last" or pruning is None or not path.is_file():
        return {"slim_from": "last"}
    state = read_torch(path, "take slim_from=last")
    assert isinstance(state, dict)
    task.load_state_dict(state["state_dict"])
    pruning.pruner.apply(pruning.keep)
    return {"slim_from": "best", "slim_epoch": int(state["epoch"])}


def _validate_before(
    trainer: pl.Trainer,
    task: pl.LightningModule,
    data: pl.LightningDataModule,
    pruning: SoftPruningCallback | None,
    schedule: Schedule,
    recorder: StageRecorder,
) -> None:
    """Measure given weights before pruning, and right after it for one-shot schedules."""
    trainer.validate(task, datamodule=data, verbose=False)
    recorder.record("start", trainer.callback_metrics)
    if pruning is not None and schedule.kind == "oneshot":
        pruning.prune(trainer)
        trainer.validate(task, datamodule=data, verbose=False)
        recorder.record("masked", trainer.callback_metrics)


# Lightning then converts every number of a batch, boxes of the ground truth among them.
_CONVERTS_ALL = ("16-true", "bf16-true", "64-true", "64")


def _check_precision(config: DictConfig) -> None:
    """Refuse a precision in which boxes are no whole pixels.

    Raises:
        InputError: If a detector is to be trained in one.
    """
    precision = str(config.trainer.get("precision"))
    if config.model.task == "detection" and precision in _CONVERTS_ALL:
        raise InputError(
            f"trainer.precision={precision} converts boxes too, which then lie on no pixel: take "
            "trainer.precision=bf16-mixed or 32"
        )
