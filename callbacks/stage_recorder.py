"""StageRecorder: figures of validation before pruning, right after masking and at the end."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from secateur.pruning.schedule import Schedule


class StageRecorder(pl.Callback):
    """Keeps the validation metrics of the epochs that a reader compares.

    ``start`` is the last validation of the dense phase (or the one before training, given by
    hand), ``masked`` the one right after the final mask was set, ``final`` the latest one.

    Args:
        schedule: Phases of the run; None for a run without pruning.
    """

    def __init__(self, schedule: Schedule | None) -> None:
        self.schedule = schedule
        self.stages: dict[str, dict[str, float]] = {}

    def record(self, stage: str, metrics: dict[str, Any]) -> None:
        """Keep the validation metrics among ``metrics`` under a stage."""
        self.stages[stage] = {
            name.removeprefix("val/"): float(value)
            for name, value in metrics.items()
            if name.startswith("val/")
        }

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the stages that this epoch ends."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        metrics = trainer.callback_metrics
        self.record("final", metrics)
        if self.schedule is None:
            return
        if trainer.current_epoch == self.schedule.dense_epochs - 1:
            self.record("start", metrics)
        if trainer.current_epoch == self.schedule.last_prune_epoch:
            self.record("masked", metrics)

    def state_dict(self) -> dict[str, Any]:
        """Plain Python, loadable with ``weights_only=True``."""
        return {"stages": {name: dict(values) for name, values in self.stages.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the stages back from a checkpoint."""
        self.stages = {name: dict(values) for name, values in state_dict["stages"].items()}
