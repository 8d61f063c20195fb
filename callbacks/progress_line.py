"""How far a run is, its loss and its figure: a line on a terminal, lines at times in a log."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar, RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import (
    BatchesProcessedColumn,
    CustomBarColumn,
    CustomTimeColumn,
    RichProgressBarTheme,
)
from rich.progress import TextColumn

from secateur.reports.progress import ProgressLines, shows_bar

_COLOR = "#0072B2"
_BAR = 12  # columns


def build_progress(monitor: str | None = None, validates: str = "Validation") -> ProgressBar:
    """What shows how far a trainer is where the output goes.

    Args:
        monitor: Name of the figure of validation that is shown beside the loss; None for none.
        validates: What a validation outside a training evaluates, such as ``slim network``.
    """
    return (ProgressLine if shows_bar() else LoggedProgress)(monitor, validates)


class ProgressLine(RichProgressBar):
    """Lightning's bar, cut to what fits: all other figures are in the plots and ``metrics.csv``.

    Args:
        monitor: Name of the figure of validation that is shown beside the loss; None for none.
        validates: What a validation outside a training evaluates, such as ``slim network``.
    """

    def __init__(self, monitor: str | None = None, validates: str = "Validation") -> None:
        super().__init__(
            theme=RichProgressBarTheme(
                progress_bar=_COLOR,
                progress_bar_finished=_COLOR,
                progress_bar_pulse=_COLOR,
                metrics_text_delimiter=" ",
                metrics_format=".3f",
            )
        )
        self.monitor = monitor
        self.validates = validates

    @property
    def validation_description(self) -> str:
        """What is written before the bar of a validation."""
        return self.validates

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        """What is shown before the figures."""
        bar = CustomBarColumn(
            bar_width=_BAR,
            complete_style=self.theme.progress_bar,
            finished_style=self.theme.progress_bar_finished,
            pulse_style=self.theme.progress_bar_pulse,
        )
        return [
            TextColumn("[progress.description]{task.description}"),
            bar,
            BatchesProcessedColumn(style=self.theme.batch_progress),
            CustomTimeColumn(style=self.theme.time),
        ]

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """The loss, and the figure that is monitored by its name alone."""
        return _shown(super().get_metrics(trainer, pl_module), self.monitor)


class LoggedProgress(ProgressBar):
    """The same in a log.

    Args:
        monitor: Name of the figure of validation that is shown beside the loss; None for none.
        validates: What a validation outside a training evaluates, such as ``slim network``.
    """

    def __init__(self, monitor: str | None = None, validates: str = "Validation") -> None:
        super().__init__()
        self.monitor = monitor
        self.validates = validates
        self._lines: ProgressLines | None = None
        self._enabled = True
        self._validated = 0  # batches of a validation

    def enable(self) -> None:
        """Say something."""
        self._enabled = True

    def disable(self) -> None:
        """Say nothing; Lightning asks for it on every process but the first."""
        self._enabled = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count steps."""
        self._lines = ProgressLines("training: step")

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Count a step."""
        if self._lines is None or not self._enabled:
            return
        batches, epochs = self.total_train_batches, trainer.max_epochs or 0
        total, done = None, batch_idx + 1
        if batches != float("inf") and epochs > 0:
            total, done = int(batches) * epochs, done + int(batches) * trainer.current_epoch
        figures = _shown(self.get_metrics(trainer, pl_module), self.monitor)
        numbers = " ".join(f"{n} {v:.3f}" for n, v in figures.items() if isinstance(v, float))
        epoch = f"epoch {trainer.current_epoch + 1}"
        self._lines.update(done, total, f"{epoch} · {numbers}" if numbers else epoch)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count the batches of a validation that is no part of a training."""
        if trainer.state.fn != "fit":
            self._lines, self._validated = ProgressLines(f"{self.validates}: batch"), 0

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch."""
        if self._lines is None or trainer.state.fn == "fit" or not self._enabled:
            return
        self._validated += 1
        batches = sum(trainer.num_val_batches)
        self._lines.update(self._validated, None if batches == float("inf") else int(batches))


def _shown(
    found: dict[str, int | str | float | dict[str, float]], monitor: str | None
) -> dict[str, int | str | float | dict[str, float]]:
    """The loss and the figure that is monitored, by their names alone."""
    return {
        name.rpartition("/")[2]: value
        for name, value in found.items()
        if name == monitor or name.rpartition("/")[2] == "loss"
    }
