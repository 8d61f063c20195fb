"""Latencies side by side, with their spread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from secateur.reports.figure import COLORS, new_figure


def plot_latency(path: Path, milliseconds: Mapping[str, Mapping[str, float]]) -> Path:
    """Draw a bar per form from zero to the median, and a line from the 10th to 90th percentile.

    Args:
        path: File to write.
        milliseconds: ``p10``, ``median`` and ``p90`` by name.

    Returns:
        The file written.
    """
    names = list(milliseconds)
    medians = [milliseconds[name]["median"] for name in names]
    low = [milliseconds[name]["median"] - milliseconds[name]["p10"] for name in names]
    high = [milliseconds[name]["p90"] - milliseconds[name]["median"] for name in names]
    with new_figure(path, (9, 1.2 + 0.4 * len(names))) as figure:
        axes = figure.add_subplot(xlabel="milliseconds, median and 10th to 90th percentile")
        spread = {"ecolor": "#222222"}
        axes.barh(names, medians, color=COLORS[0], xerr=[low, high], error_kw=spread)
        ends = [max(milliseconds[name]["median"], milliseconds[name]["p90"]) for name in names]
        for row, (median, end) in enumerate(zip(medians, ends, strict=True)):
            axes.text(end, row, f"  {median:.1f}", va="center", fontsize=9)
        axes.set_xlim(right=1.12 * max(ends))  # room for the numbers behind the lines
        axes.invert_yaxis()
    return path
