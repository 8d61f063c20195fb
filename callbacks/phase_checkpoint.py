"""PhaseCheckpoint: the best epoch of the dense network, and the best one of the pruned network."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from secateur.pruning.schedule import Schedule

Network = Literal["dense", "pruned"]


class PhaseCheckpoint(ModelCheckpoint):
    """Saves ``best_dense.ckpt`` or ``best_pruned.ckpt``.

    One checkpoint of the best epoch would nearly always be the dense network, which has not lost
    anything yet. While a schedule still changes its mask an epoch is neither: the pruned network is
    the one with the final mask.

    Args:
        folder: Folder of checkpoints.
        network: ``dense`` or ``pruned``.
        schedule: Phases of the run; None for a run without pruning, which is dense to its end.
        monitor: Logged figure that decides.
        mode: ``max`` or ``min``.
    """

    def __init__(
        self, folder: Path, network: Network, schedule: Schedule | None, monitor: str, mode: str
    ) -> None:
        super().__init__(
            dirpath=folder,
            filename=f"best_{network}",
            monitor=monitor,
            mode=mode,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )
        self.network = network
        self.schedule = schedule

    @property
    def state_key(self) -> str:
        """A key of its own: Lightning's is the same for two that monitor one figure."""
        return f"PhaseCheckpoint_{self.network}"

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save if the epoch is one of this network, was validated, and is the best of them."""
        if self.is_of(trainer.current_epoch) and self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)

    def is_of(self, epoch: int) -> bool:
        """Whether the network is this one after an epoch, counted from 0."""
        if self.schedule is None:
            return self.network == "dense"
        if self.network == "dense":
            return epoch < self.schedule.dense_epochs
        return epoch >= max(self.schedule.last_prune_epoch, self.schedule.dense_epochs)
