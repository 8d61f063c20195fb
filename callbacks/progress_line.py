"""ProgressLine: how far a run is, its loss and its figure, in one line of 80 columns."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import (
    BatchesProcessedColumn,
    CustomBarColumn,
    CustomTimeColumn,
    RichProgressBarTheme,
)
from rich.progress import TextColumn

_COLOR = "#0072B2"
_BAR = 12  # columns


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
        found = super().get_metrics(trainer, pl_module)
        return {
            name.rpartition("/")[2]: value
            for name, value in found.items()
            if name == self.monitor or name.rpartition("/")[2] == "loss"
        }
