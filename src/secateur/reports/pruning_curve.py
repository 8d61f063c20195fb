"""Plot of a figure of quality against the filters that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.ticker import PercentFormatter

from secateur.reports.plots import COLOURS, new_figure

_NAMES = {"eer": "equal error rate", "accuracy": "accuracy", "ap_hard": "AP hard"}


class CurvePoint(NamedTuple):
    """One validation.

    Attributes:
        epoch: Epoch, from 0; -1 for a validation before training.
        phase: ``dense``, ``prune`` or ``hold``.
        removed: Share of the filters that are masked, 0..1.
        value: The figure.
    """

    epoch: int
    phase: str
    removed: float
    value: float


def plot_pruning_curve(path: Path, points: Sequence[CurvePoint], quantity: str) -> Path:
    """Draw a curve over the prune phase, and the point after fine-tuning apart.

    Args:
        path: File to write.
        points: Validations in the order they were made.
        quantity: Name of the figure, such as ``eer``.

    Returns:
        The file written.
    """
    with new_figure(path, (7.0, 3.8)) as figure:
        title = "Quality against filters removed"
        name = _NAMES.get(quantity, quantity)
        axes = figure.add_subplot(title=title, xlabel="filters removed", ylabel=name)
        axes.grid(axis="y")
        going = [point for point in points if point.phase != "hold"]
        axes.plot(
            [point.removed for point in going],
            [point.value for point in going],
            color=COLOURS[0],
            marker="o",
            markersize=4,
            label="while pruning",
        )
        for point in points:
            if point.phase == "hold":
                label = "after fine-tuning"
                axes.plot(point.removed, point.value, "D", color=COLOURS[1], label=label)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.legend()
    return path
