"""DenseWeights: keeps the weights that the dense phase ended with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from secateur.pruning.schedule import Schedule
from secateur.weights.dense import save_dense

NAME = "dense.safetensors"
_PARTS = ("network.", "head.")


class DenseWeights(pl.Callback):
    """Writes ``dense.safetensors`` after the last dense epoch, for ``weights=`` of other runs.

    Network and identification head only: a checkpoint with optimiser and masks is several times
    as large and belongs to one run.

    Args:
        folder: Folder of checkpoints.
        architecture: Name and arguments that build the network.
        schedule: Phases of the run; None for a run without pruning, which is dense to its end.
    """

    def __init__(
        self, folder: Path, architecture: Mapping[str, Any], schedule: Schedule | None
    ) -> None:
        self.path = Path(folder) / NAME
        self.architecture = architecture
        self.schedule = schedule

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write if this was the last dense epoch; comes before the checkpoint of the epoch."""
        dense_epochs = self.schedule.dense_epochs if self.schedule else trainer.max_epochs
        if trainer.current_epoch + 1 != dense_epochs or not trainer.is_global_zero:
            return
        state = pl_module.state_dict()
        wanted = {name: tensor for name, tensor in state.items() if name.startswith(_PARTS)}
        save_dense(self.path, wanted, self.architecture)
