"""metrics.csv survives a crash and a resume."""

from __future__ import annotations

from pathlib import Path

from secateur.reports.metrics_file import read_metrics
from secateur.workflows.tracking.loggers import MetricsCsv


def test_rows_are_appended_and_those_after_the_checkpoint_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    logger = MetricsCsv(path)
    logger.log_metrics({"epoch": 0, "train/loss": 1.5}, step=10)
    logger.log_metrics({"epoch": 1, "train/loss": 1.0, "val/ap_hard": 0.5}, step=20)
    with path.open("a") as file:
        file.write("1,30,train/lo")
    MetricsCsv(path, resumed_from=10).log_metrics({"epoch": 1, "train/loss": 0.9}, step=20)
    rows = read_metrics(path)
    assert [(row.step, row.name, row.value) for row in rows] == [
        (10, "train/loss", 1.5),
        (20, "train/loss", 0.9),
    ]
