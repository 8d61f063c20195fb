"""Table and plot of figures of quality against the share of filters removed."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from secateur.files import atomic_write
from secateur.metrics.names import QUALITY, label_of
from secateur.reports.figure import COLORS, new_figure, put_legend


class CurvePoint(NamedTuple):
    """One validation.

    Attributes:
        epoch: Epoch, from 0; -1 for a validation before training.
        phase: ``dense``, ``prune`` or ``hold``.
        removed: Share of the filters that are masked, 0..1.
        figures: Figures of validation by name.
        parameters: Parameters of the slim network, if it was made.
        macs: MACs of the slim network, if it was made.
        folder: Where the slim network lies in the run folder, if it was kept.
    """

    epoch: int
    phase: str
    removed: float
    figures: dict[str, float]
    parameters: int | None = None
    macs: int | None = None
    folder: str = ""


def write_pruning_curve(path: Path, points: Sequence[CurvePoint]) -> Path:
    """Write a table with one row per validation.

    Args:
        path: File to write.
        points: Validations in the order they were made.

    Returns:
        The file written. A figure that could not be measured is an empty field.
    """
    found = list(dict.fromkeys(name for point in points for name in point.figures))
    figures = [figure.name for figure in QUALITY if figure.name in found]
    figures += [name for name in found if name not in figures]
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(("epoch", "phase", "filters_removed", *figures, "parameters", "macs", "folder"))
    for point in points:
        values = (point.figures.get(name, math.nan) for name in figures)
        rows.writerow(
            (
                *(point.epoch, point.phase, point.removed),
                *("" if math.isnan(value) else value for value in values),
                *(point.parameters, point.macs, point.folder),
            )
        )
    return atomic_write(path, text.getvalue())


def plot_pruning_curve(path: Path, points: Sequence[CurvePoint], quantity: str) -> Path:
    """Draw quality over the prune phase, and below it what is left of the slim network.

    The points before pruning and after fine-tuning are marked.

    Args:
        path: File to write.
        points: Validations in the order they were made.
        quantity: Name of the figure, such as ``eer``.

    Returns:
        The file written.
    """
    sized = [point for point in points if point.parameters and point.macs]
    with new_figure(path, (7.0, 6.0 if sized else 3.8)) as figure:
        rows = figure.subplots(
            1 + bool(sized), 1, sharex=True, squeeze=False, height_ratios=(3, 2)[: 1 + bool(sized)]
        )[:, 0]
        rows[0].set(title="Quality against filters removed", ylabel=label_of(quantity))
        _draw_quality(rows[0], points, quantity)
        if sized:
            _draw_sizes(rows[1], sized)
        rows[-1].set_xlabel("filters removed")
        rows[-1].xaxis.set_major_formatter(PercentFormatter(1.0))
        for axes in rows:
            axes.grid(axis="y")
            put_legend(axes)
    return path


def _draw_quality(axes: Axes, points: Sequence[CurvePoint], quantity: str) -> None:
    """The curve of one figure, its start and its end."""
    going = [point for point in points if point.phase != "hold"]
    axes.plot(
        [point.removed for point in going],
        [point.figures.get(quantity, math.nan) for point in going],
        color=COLORS[0],
        marker="o",
        markersize=4,
        label="while pruning",
    )
    ends = (("dense", "before pruning", "s", COLORS[2]), ("hold", "fine-tuned", "D", COLORS[1]))
    for phase, label, marker, color in ends:
        for point in [point for point in points if point.phase == phase][-1:]:
            value = point.figures.get(quantity, math.nan)
            axes.plot(point.removed, value, marker, color=color, label=label, markersize=7)


def _draw_sizes(axes: Axes, points: Sequence[CurvePoint]) -> None:
    """Parameters and MACs of the slim networks, over those of the first one."""
    going = [point for point in points if point.phase != "hold"] or list(points)
    for name, label, color in (
        ("parameters", "parameters", COLORS[3]),
        ("macs", "MACs", COLORS[4]),
    ):
        values = [getattr(point, name) for point in going]
        axes.plot(
            [point.removed for point in going],
            [value / values[0] for value in values],
            color=color,
            marker="o",
            markersize=4,
            label=f"{label}, of {values[0] / 1e6:.3g} M",
        )
    axes.set(ylabel="left in the slim network", ylim=(0, 1.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
