"""metrics.csv: every logged value in one long table that survives a crash and a resume."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

COLUMNS = ("epoch", "step", "name", "value")


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
        kept: list[dict[str, str]] = []
        if resumed_from is not None and path.exists():
            kept = [row for row in read_metrics(path) if int(row["step"]) <= resumed_from]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(kept)

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
        epoch = metrics.get("epoch", "")
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerows(
                (int(epoch) if epoch != "" else "", step, name, repr(float(value)))
                for name, value in metrics.items()
                if name != "epoch"
            )

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        """The configuration is saved as config.yaml."""


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Rows of a metrics.csv as mappings from column to text; a torn last row is left out."""
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["value"]]
