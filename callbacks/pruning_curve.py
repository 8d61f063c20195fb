"""PruningCurve: how a figure of validation changes as filters go, from one run."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from callbacks.soft_pruning import SoftPruningCallback
from secateur.reports.files import atomic_write
from secateur.reports.pruning_curve import CurvePoint, plot_pruning_curve


class PruningCurve(pl.Callback):
    """Writes ``curve.csv`` and ``plots/curve.png`` where the masks grow step by step.

    With ``pruning.schedule=iterative`` or ``gradual`` every epoch of the prune phase has removed
    more filters than the one before, so that one run gives the whole curve.

    Args:
        folder: Run folder.
        monitor: Name of the figure of validation.
    """

    def __init__(self, folder: Path, monitor: str) -> None:
        self.folder = Path(folder)
        self.monitor = monitor
        self.points: list[CurvePoint] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take a point, and draw what there is so far."""
        pruning = next(
            (one for one in trainer.callbacks if isinstance(one, SoftPruningCallback)),  # type: ignore[attr-defined]
            None,
        )
        value = trainer.callback_metrics.get(self.monitor)
        if pruning is None or value is None or trainer.sanity_checking:
            return
        schedule = pruning.schedule
        if schedule.kind not in ("iterative", "gradual"):
            return
        before = trainer.state.fn != "fit"
        epoch = -1 if before else trainer.current_epoch
        phase = "dense" if before else schedule.phase(epoch)
        if phase != "prune":  # of the dense and the last phase the latest epoch counts
            self.points = [point for point in self.points if point.phase != phase]
        removed = removed_share(pruning)
        self.points.append(CurvePoint(epoch, phase, removed, float(value)))
        if trainer.is_global_zero and phase != "dense":
            self._write()

    def state_dict(self) -> dict[str, Any]:
        """Plain Python, loadable with ``weights_only=True``."""
        return {"points": [list(point) for point in self.points]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the points back from a checkpoint."""
        self.points = [CurvePoint(*point) for point in state_dict["points"]]

    def _write(self) -> None:
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(("epoch", "phase", "filters_removed", self.monitor))
        rows.writerows(self.points)
        atomic_write(self.folder / "curve.csv", text.getvalue())
        plot_pruning_curve(
            self.folder / "plots" / "curve.png", self.points, self.monitor.removeprefix("val/")
        )


def removed_share(pruning: SoftPruningCallback) -> float:
    """Share of all filters that may be pruned which the masks drop now, 0..1."""
    masks = [pruning.keep[name] for name in pruning.pruner.layers if name in pruning.keep]
    total = sum(len(mask) for mask in masks)
    return sum(int((~mask).sum()) for mask in masks) / total if total else 0.0
