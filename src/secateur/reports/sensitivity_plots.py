"""Plots of sensitivity: the loss against the rate of one layer or group alone, curves and a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from secateur.reports.figure import COLORS, new_figure

_PER_PANEL = 7  # curves that can be told apart
_MOST_ROWS = 70  # parts below each other in a map; more go on in a further column
_CLIPPED = 0.95  # share of the cells of a map whose change has a color of its own


def plot_sensitivity(
    path: Path,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    start: float,
    *,
    title: str,
    quantity: str,
) -> Path:
    """Draw one curve per part, the most sensitive ones first, some to a panel.

    Panels of a row have one vertical axis; below those that bear least, others would be flat.

    Args:
        path: File to write.
        curves: For each part, pairs of rate and loss.
        start: Loss of the network as it is.
        title: Title of the plot.
        quantity: What the loss is.

    Returns:
        The file written.
    """
    order = sorted(curves, key=lambda part: _rise(curves[part], start), reverse=True)
    panels = [order[i : i + _PER_PANEL] for i in range(0, len(order), _PER_PANEL)]
    n_columns = min(len(panels), 3)
    n_rows = -(-len(panels) // max(n_columns, 1))
    with new_figure(path, (5.6 * n_columns + 1.0, 3.4 * n_rows + 0.4)) as figure:
        figure.suptitle(title, x=0.01, ha="left")
        figure.supylabel(quantity, fontsize=10)
        all_axes = figure.subplots(n_rows, n_columns, sharey="row", squeeze=False).reshape(-1)
        for axes in all_axes[len(panels) :]:
            axes.set_visible(False)
        for axes, parts in zip(all_axes, panels, strict=False):
            for i, part in enumerate(parts):
                points = [(0.0, start), *curves[part]]
                axes.plot(
                    [rate for rate, _ in points],
                    [loss for _, loss in points],
                    label=part,
                    color=COLORS[i % len(COLORS)],
                    marker="o",
                    markersize=3,
                )
            axes.grid(axis="y")
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_xlabel("filters removed")
            axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return path


def plot_sensitivity_map(
    path: Path,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    start: float,
    *,
    title: str,
    quantity: str,
) -> Path:
    """Draw one row per part in the order of the network and one column per rate.

    The color and the number of a cell are the change of the loss. A few parts that bear nothing
    would leave all others pale, so the largest twentieth of the changes share the deepest color.

    Args:
        path: File to write.
        curves: For each part, pairs of rate and loss.
        start: Loss of the network as it is.
        title: Title of the plot.
        quantity: What the loss is.

    Returns:
        The file written.
    """
    parts = list(curves)
    rates = sorted({rate for points in curves.values() for rate, _ in points})
    changes = np.full((len(parts), len(rates)), np.nan)
    for row, part in enumerate(parts):
        for rate, loss in curves[part]:
            changes[row, rates.index(rate)] = loss - start
    finite = changes[np.isfinite(changes)]
    top = (float(np.quantile(np.abs(finite), _CLIPPED)) if finite.size else 0.0) or 1e-3
    better = bool((finite < -0.1 * top).any())  # some parts are better without filters
    colors = Normalize(-top if better else 0.0, top)
    n_columns = max(1, -(-len(parts) // _MOST_ROWS))
    n_rows = max(3, -(-len(parts) // n_columns))
    width = 0.55 * len(rates) + 0.075 * max(map(len, parts), default=0) + 0.6
    with new_figure(path, (max(5.0, width * n_columns + 1.2), 0.17 * n_rows + 1.6)) as figure:
        figure.suptitle(title, x=0.01, ha="left")
        columns = figure.subplots(1, n_columns, squeeze=False)[0]
        for column, axes in enumerate(columns):
            chosen = slice(column * n_rows, (column + 1) * n_rows)
            image = _draw_changes(axes, changes[chosen], parts[chosen], rates, colors)
            axes.set_ylim(n_rows - 0.5, -0.5)  # rows of one height in every column
        beyond = "both" if better else "max"
        bar = figure.colorbar(image, ax=list(columns), extend=beyond, aspect=30, shrink=0.9)
        bar.set_label(f"change of the {quantity}", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    return path


def _draw_changes(
    axes: Axes,
    changes: NDArray[np.float64],
    parts: Sequence[str],
    rates: Sequence[float],
    colors: Normalize,
) -> AxesImage:
    """Draw one column of a map.

    Args:
        axes: Where to draw.
        changes: (parts, rates) changes of the loss.
        parts: Names of the rows.
        rates: Fractions of filters removed, the columns.
        colors: Range of the changes that have a color of their own.
    """
    top = float(colors.vmax or 1.0)
    image = axes.imshow(
        np.ma.masked_invalid(changes),
        aspect="auto",
        cmap="PuOr_r" if colors.vmin else "Oranges",
        norm=colors,
        interpolation="nearest",
    )
    for (row, column), change in np.ndenumerate(changes):
        deep = abs(change) > 0.7 * top
        text = f"{change:+.2g}" if abs(change) < 100 else f"{change:+.0e}"
        text = "0" if abs(change) < 1e-3 * top else text
        axes.text(
            column,
            row,
            text if np.isfinite(change) else "none",
            ha="center",
            va="center",
            fontsize=6,
            color="white" if deep else "#222222",
            in_layout=False,  # it lies in its cell
        )
    axes.set_yticks(range(len(parts)), parts, fontsize=7)
    axes.set_xticks(range(len(rates)), [f"{rate:.4g}" for rate in rates], fontsize=8)
    axes.set_xlabel("share of filters removed", fontsize=9)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _rise(points: Sequence[tuple[float, float]], start: float) -> float:
    """Mean rise of the loss over the rates."""
    return sum(loss - start for _, loss in points) / max(len(points), 1)
