"""Curves of sensitivity: the loss against the rate of one layer or group alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import PercentFormatter

from secateur.reports.plots import COLORS, new_figure

_PER_PANEL = 7  # curves that can be told apart


def plot_sensitivity(
    path: Path,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    start: float,
    *,
    title: str,
    quantity: str,
) -> Path:
    """Draw one curve per part, the most sensitive ones first, some to a panel.

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
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        all_axes = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).reshape(-1)
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
            axes.set_ylabel(quantity)
            axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return path


def _rise(points: Sequence[tuple[float, float]], start: float) -> float:
    """Mean rise of the loss over the rates."""
    return sum(loss - start for _, loss in points) / max(len(points), 1)
