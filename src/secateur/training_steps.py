"""Where a training stands: its steps, which epoch comes next, what a step lost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from secateur.errors import InputError


def count_training_steps(trainer: pl.Trainer) -> tuple[int, int]:
    """Optimiser steps of the whole training and of one epoch, for one process.

    ``trainer.estimated_stepping_batches`` would start the loading processes while the optimiser
    is made. On resume that is before the epoch is known, and Lightning 2.6.6 keeps what they
    fetched: the resumed epoch would begin with pictures of epoch 0.

    Args:
        trainer: Trainer of a fit with a datamodule.

    Returns:
        Total steps and steps per epoch, both at least 1.
    """
    datamodule = getattr(trainer, "datamodule", None)
    if datamodule is None:
        total = int(trainer.estimated_stepping_batches)
        return total, max(1, total // max(1, trainer.max_epochs or 1))
    batches = len(datamodule.train_dataloader())
    limit = trainer.limit_train_batches
    if isinstance(limit, int):
        batches = min(batches, limit)
    elif limit is not None:
        batches = int(batches * limit)
    per_epoch = max(1, math.ceil(batches / trainer.accumulate_grad_batches))
    return per_epoch * max(1, trainer.max_epochs or 1), per_epoch


def upcoming_epoch(trainer: pl.Trainer) -> int:
    """Epoch that the training loader is made for.

    On resume Lightning 2.6.6 starts the workers (``fit_loop.setup_data``) before it tells the
    sampler the epoch, so that they would repeat the pictures of epoch 0; and a checkpoint of an
    epoch's end has processed that epoch without having completed it, so that
    ``trainer.current_epoch`` still names the last one.
    """
    progress: Any = trainer.fit_loop.epoch_progress.current
    return int(progress.processed)


_SANE_RATE = 0.01


def check_loss(loss: Tensor, trainer: pl.Trainer, batch_idx: int) -> None:
    """Stop a training whose loss is no number any more.

    Args:
        loss: Of one batch.
        trainer: The trainer, for epoch and learning rate.
        batch_idx: Number of the batch.

    Raises:
        InputError: If the loss is not finite.
    """
    if torch.isfinite(loss):
        return
    group = trainer.optimizers[0].param_groups[0]
    # Of a rate that no network can be trained with, a tenth is no better.
    lower = min(group.get("initial_lr", group["lr"]) / 10, _SANE_RATE)
    raise InputError(
        f"the training loss became {loss.item()} in epoch {trainer.current_epoch}, batch "
        f"{batch_idx}: give the command again with optimizer.lr={lower:.3g}, which begins "
        "another run, in another output_dir if one was given"
    )


def log_training_loss(
    task: pl.LightningModule,
    loss: Tensor,
    terms: Mapping[str, Tensor],
    batch_idx: int,
    batch_size: int,
) -> None:
    """Log what a batch lost: means of the epoch for the record, the latest for the progress bar.

    Args:
        task: The task in training.
        loss: Scalar that is trained on.
        terms: Further scalars of the batch by name; each is logged as ``train/NAME``.
        batch_idx: Number of the batch.
        batch_size: Number of its pictures.

    Raises:
        InputError: If the loss is not a finite number.
    """
    check_loss(loss, task.trainer, batch_idx)
    task.log_dict(
        {f"train/{name}": value.detach() for name, value in {"loss": loss, **terms}.items()},
        on_step=False,
        on_epoch=True,
        batch_size=batch_size,
        sync_dist=True,
    )
    task.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=batch_size)
