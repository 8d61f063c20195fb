"""Plots of a rate search: how it went, which groups matter, size against quality."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from secateur.reports.figure import COLORS, new_figure, put_legend

_MANY = 20  # trials


def plot_history(path: Path, quality: ArrayLike, *, title: str, quantity: str) -> Path:
    """Plot what each trial found, and the best so far.

    Args:
        path: File to write.
        quality: (N,) one figure per trial in their order, NaN where there is none.
        title: Title of the plot.
        quantity: What the figure is; larger is better.

    Returns:
        The file written.
    """
    values = np.asarray(quality, dtype=float)
    with new_figure(path, (7.0, 3.8)) as figure:
        axes = figure.add_subplot(title=title, xlabel="trial", ylabel=quantity)
        axes.grid(axis="y")
        numbers = np.arange(len(values))
        axes.plot(numbers, values, ".", color="#BBBBBB", markersize=4, label="trial")
        found = np.isfinite(values)
        if found.any():
            best = np.maximum.accumulate(np.where(found, values, -np.inf))
            first = int(found.argmax())
            axes.step(
                numbers[first:], best[first:], where="post", color=COLORS[0], label="best so far"
            )
            axes.set_ylim(*_range(values[found]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        put_legend(axes)
    return path


def plot_importance(path: Path, importance: Mapping[str, float], *, title: str) -> Path:
    """Plot how much each group decides.

    Args:
        path: File to write.
        importance: Share per group, 0..1.
        title: Title of the plot.

    Returns:
        The file written.
    """
    names = list(importance)
    with new_figure(path, (5.6, 1.2 + 0.35 * max(len(names), 1))) as figure:
        axes = figure.add_subplot(title=title, xlabel="importance of the group's rate")
        if not names:
            axes.set_axis_off()
            axes.text(0, 0.5, "Too few trials to tell which group matters.", va="center")
            return path
        axes.barh(names, [importance[name] for name in names], color=COLORS[0], height=0.6)
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    return path


def plot_size_front(
    path: Path,
    removed: ArrayLike,
    quality: ArrayLike,
    front: ArrayLike,
    *,
    title: str,
    size: str,
    quantity: str,
) -> Path:
    """Plot quality against what was removed.

    Args:
        path: File to write.
        removed: (N,) share removed by each trial.
        quality: (N,) its figure.
        front: (F, 2) share and figure of trials that none beats, by rising share.
        title: Title of the plot.
        size: What the share is of.
        quantity: What the figure is; larger is better.

    Returns:
        The file written.
    """
    with new_figure(path, (6.4, 4.2)) as figure:
        axes = figure.add_subplot(title=title, xlabel=size, ylabel=quantity)
        axes.grid()
        axes.plot(removed, quality, ".", color="#BBBBBB", markersize=4, label="trial")
        best = np.asarray(front, dtype=float).reshape(-1, 2)
        axes.plot(best[:, 0], best[:, 1], "o-", color=COLORS[1], markersize=5, label="front")
        shown = np.asarray(quality, dtype=float)
        if len(shown):
            low, high = _range(shown)
            lowest = best[:, 1].min(initial=high) - 0.05 * (high - low)
            axes.set_ylim(min(low, lowest), high)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        put_legend(axes)
    return path


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Ends of an axis: of many trials, a tenth may be so hopeless that they are left out."""
    low = np.quantile(values, 0.1) if len(values) >= _MANY else values.min()
    high = values.max()
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 0.1
    return float(low - margin), float(high + margin)
