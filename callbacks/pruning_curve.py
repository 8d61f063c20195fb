"""PruningCurve: figures of validation against the share of filters removed, from one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from secateur.callbacks.soft_pruning import SoftPruningCallback
from secateur.callbacks.step_saver import StepSaver
from secateur.pruning.schedule import Schedule
from secateur.reports.pruning_curve_plots import CurvePoint, plot_pruning_curve, write_pruning_curve


class PruningCurve(pl.Callback):
    """Writes ``curve.csv`` and ``plots/curve.png`` where the masks grow step by step.

    With ``pruning.schedule=iterative`` or ``gradual`` every epoch of the prune phase has removed
    more filters than the one before, so that one run gives the whole curve. The slim network and
    a recogniser's embeddings are kept of each step in ``steps/01``, ``02`` ..., of the end of the
    dense phase in ``steps/00``, and of the end of fine-tuning in ``steps/final``.

    Args:
        folder: Run folder.
        monitor: Name of the figure of validation to plot.
        save_steps: Whether to keep networks and embeddings.
    """

    def __init__(self, folder: Path, monitor: str, save_steps: bool = True) -> None:
        self.folder = Path(folder)
        self.monitor = monitor
        self.save_steps = save_steps
        self.saver: StepSaver | None = None
        self.points: list[CurvePoint] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take a point, and draw what there is so far."""
        pruning = next(
            (one for one in trainer.callbacks if isinstance(one, SoftPruningCallback)),  # type: ignore[attr-defined]
            None,
        )
        if pruning is None or trainer.sanity_checking:
            return
        if self.monitor not in trainer.callback_metrics:
            return
        schedule = pruning.schedule
        if schedule.kind not in ("iterative", "gradual"):
            return
        before = trainer.state.fn != "fit"
        epoch = -1 if before else trainer.current_epoch
        phase = "dense" if before else schedule.phase(epoch)
        if phase != "prune":  # of the dense and the last phase the latest epoch counts
            self.points = [point for point in self.points if point.phase != phase]
        point = CurvePoint(epoch, phase, removed_share(pruning), _figures(trainer))
        name = step_name(schedule, epoch)
        if self.save_steps and self.saver is not None and name is not None:
            step = self.saver.save(trainer, pl_module, name)
            point = point._replace(
                parameters=step.parameters, macs=step.macs, folder=f"steps/{name}"
            )
        self.points.append(point)
        if trainer.is_global_zero and phase != "dense":
            write_pruning_curve(self.folder / "curve.csv", self.points)
            plot_pruning_curve(
                self.folder / "plots" / "curve.png", self.points, self.monitor.removeprefix("val/")
            )

    def state_dict(self) -> dict[str, Any]:
        """Plain Python, loadable with ``weights_only=True``."""
        return {"points": [list(point) for point in self.points]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the points back from a checkpoint."""
        self.points = [CurvePoint(*point) for point in state_dict["points"]]


def step_name(schedule: Schedule, epoch: int) -> str | None:
    """Name of the step that an epoch ends, by the schedule alone, so that a resumed run agrees.

    Args:
        schedule: Phases of the run.
        epoch: Epoch, from 0; -1 for a validation before training.

    Returns:
        ``00`` before pruning, then ``01`` for the first mask and so on, ``final`` after
        fine-tuning; None for an epoch that ends no step.
    """
    if epoch == schedule.dense_epochs - 1:
        return "00"
    if schedule.prunes_after(epoch):
        return f"{sum(schedule.prunes_after(e) for e in range(epoch + 1)):02d}"
    return "final" if epoch == schedule.total_epochs - 1 else None


def removed_share(pruning: SoftPruningCallback) -> float:
    """Share of all filters that may be pruned which the masks drop now, 0..1."""
    masks = [pruning.keep[name] for name in pruning.pruner.layers if name in pruning.keep]
    total = sum(len(mask) for mask in masks)
    return sum(int((~mask).sum()) for mask in masks) / total if total else 0.0


def _figures(trainer: pl.Trainer) -> dict[str, float]:
    """All figures of this validation, without their prefix."""
    return {
        name.removeprefix("val/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("val/")
    }
