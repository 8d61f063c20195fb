"""Plots of a run: curves of training, kept filters, precision against recall, size against AP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from secateur.reports.figure import COLORS, new_figure, put_legend


@dataclass(frozen=True, slots=True)
class Span:
    """A phase of training: epochs ``first`` to ``last``, both inside, counted from 0."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class LayerFilters:
    """Filters of one layer.

    Attributes:
        name: Name of the layer.
        filters: How many it has before pruning.
        kept: How many the mask keeps.
        slim: How many the slim network has; more than kept where removal would change the output.
    """

    name: str
    filters: int
    kept: int
    slim: int


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """One network in a plot of size against quality.

    Attributes:
        label: Short text beside the point, may be empty.
        series: What the point belongs to, for the legend.
        size: Position on the horizontal axis: parameters, MACs or milliseconds.
        quality: Position on the vertical axis, 0..1.
    """

    label: str
    series: str
    size: float
    quality: float


def plot_curves(
    path: Path,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    title: str,
    quantity: str,
    spans: Sequence[Span] = (),
    unit_range: bool = False,
) -> Path:
    """Plot values over epochs.

    Args:
        path: File to write.
        curves: For each label, ``(N,)`` epochs and ``(N,)`` values.
        title: Title of the plot.
        quantity: What the values are.
        spans: Phases to mark behind the curves.
        unit_range: Whether the values lie in 0..1; the axis then does not leave it, but for room
            for the names of phases.

    Returns:
        The file written.
    """
    with new_figure(path, (7.0, 3.8)) as figure:
        axes = figure.add_subplot(title=title, xlabel="epoch", ylabel=quantity)
        axes.grid(axis="y")
        for i, (label, (epochs, values)) in enumerate(curves.items()):
            x, y = np.asarray(epochs, dtype=float), np.asarray(values, dtype=float)
            marker = "o" if len(x) <= 30 else ""
            color = COLORS[i % len(COLORS)]
            axes.plot(x, y, label=label, color=color, marker=marker, markersize=4)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if unit_range:
            bottom, top = axes.get_ylim()
            axes.set_ylim(max(0.0, bottom), min(1.0, top) if top > bottom else 1.0)
        if spans:  # room for their names above the curves
            bottom, top = axes.get_ylim()
            axes.set_ylim(bottom, top + 0.08 * (top - bottom))
        for i, span in enumerate(spans):
            shade = ("white", "#F3F3F3")[i % 2]
            axes.axvspan(span.first - 0.5, span.last + 0.5, color=shade, zorder=0)
            axes.annotate(
                span.name,
                ((span.first + span.last) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="top",
                fontsize=9,
                color="#777777",
            )
        put_legend(axes)
    return path


def plot_kept_filters(path: Path, layers: Sequence[LayerFilters], *, title: str) -> Path:
    """Plot, for each layer, the share of filters that the mask and the slim network keep.

    Args:
        path: File to write.
        layers: The layers in the order of the network.
        title: Title of the plot.

    Returns:
        The file written.
    """
    n_columns = 1 if len(layers) <= 24 else 2 if len(layers) <= 100 else 3
    n_rows = max(6, -(-len(layers) // n_columns))
    height = 0.17 * n_rows + 1.1
    with new_figure(path, (5.6 * n_columns, height)) as figure:
        figure.suptitle(title, x=0.01, ha="left")
        for column, axes in enumerate(np.ravel(figure.subplots(1, n_columns, squeeze=False))):
            _draw_kept(axes, layers[column * n_rows : (column + 1) * n_rows], n_rows)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    return path


def plot_precision_recall(
    path: Path,
    curves: Mapping[str, tuple[ArrayLike, float]],
    *,
    title: str,
) -> Path:
    """Plot precision against recall.

    Args:
        path: File to write.
        curves: For each label, a ``(T, 2)`` curve of precision and recall and its average
            precision.
        title: Title of the plot.

    Returns:
        The file written.
    """
    with new_figure(path, (7.4, 4.8)) as figure:
        axes = figure.add_subplot(title=title, xlabel="recall", ylabel="precision")
        axes.grid()
        for i, (label, (curve, ap)) in enumerate(curves.items()):
            precision, recall = np.asarray(curve, dtype=float).T
            color, line = COLORS[i % len(COLORS)], ("-", "--", ":")[i // len(COLORS) % 3]
            axes.plot(recall, precision, line, label=f"{label}  AP {ap:.4f}", color=color)
        axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
        put_legend(axes)
    return path


def plot_front(
    path: Path,
    points: Sequence[FrontPoint],
    *,
    title: str,
    size: str = "parameters",
    quality: str = "average precision",
) -> Path:
    """Plot quality against size, with the line of those that no smaller one beats.

    Args:
        path: File to write.
        points: The networks.
        title: Title of the plot.
        size: What the horizontal axis measures.
        quality: What the vertical axis measures.

    Returns:
        The file written.
    """
    with new_figure(path, (7.0, 4.4)) as figure:
        axes = figure.add_subplot(title=title, xlabel=size, ylabel=quality)
        axes.grid()
        best = front(points)
        if best:
            x, y = [p.size for p in best], [p.quality for p in best]
            axes.step(x, y, where="post", color="#AAAAAA", linewidth=1.2, label="best of its size")
        for i, series in enumerate(dict.fromkeys(p.series for p in points)):
            members = [p for p in points if p.series == series]
            axes.plot(
                [p.size for p in members],
                [p.quality for p in members],
                "os^Dvp*"[i % 7],
                color=COLORS[i % len(COLORS)],
                markersize=7,
                markeredgecolor="white",
                label=series,
            )
        for p in points:
            axes.annotate(
                p.label,
                (p.size, p.quality),
                xytext=(6, 4),
                textcoords="offset points",
                fontsize=8,
                color="#555555",
            )
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
        axes.margins(x=0.1, y=0.12)
        put_legend(axes)
    return path


def front(points: Sequence[FrontPoint]) -> list[FrontPoint]:
    """Keep the points that no point of the same or a smaller size equals or beats.

    Args:
        points: Points in any order.

    Returns:
        The best points, by rising size and rising quality.
    """
    best: list[FrontPoint] = []
    for point in sorted(points, key=lambda p: (p.size, -p.quality)):
        if not best or point.quality > best[-1].quality:
            best.append(point)
    return best


def _draw_kept(axes: Axes, layers: Sequence[LayerFilters], n_rows: int) -> None:
    """Draw one column of layers, first on top: dense, slim and kept share behind each other."""
    y = np.arange(len(layers))
    filters = np.array([layer.filters for layer in layers], dtype=float)
    slim, kept = (np.array([getattr(la, what) for la in layers]) for what in ("slim", "kept"))
    axes.barh(y, np.ones(len(layers)), height=0.78, color="#EEEEEE", label="removed")
    axes.barh(y, slim / filters, height=0.78, color="#9CC6DF", label="left in the slim network")
    axes.barh(y, kept / filters, height=0.4, color=COLORS[0], label="kept by the mask")
    for row, layer in enumerate(layers):
        text = f"{layer.kept} / {layer.filters}"
        axes.text(1.015, row, text, va="center", fontsize=7, color="#777777")
    axes.set_yticks(y, [layer.name for layer in layers], fontsize=7)
    axes.set(xlim=(0, 1), ylim=(n_rows - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines["bottom"].set_visible(False)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))


def _short(value: float, _: int | None = None) -> str:
    """Write a tick as 92 k, 1.2 M or 0.4 G."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"
