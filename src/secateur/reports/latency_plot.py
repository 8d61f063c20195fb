"""Latencies side by side, with their spread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from secateur.files import replacing

_COLOR = "#2E7DFF"


def plot_latency(path: Path, milliseconds: Mapping[str, Mapping[str, float]]) -> Path:
    """Draw a bar per form from zero to the median, and a line from the 10th to 90th percentile.

    Args:
        path: File to write.
        milliseconds: ``p10``, ``median`` and ``p90`` by name.

    Returns:
        The file written.
    """
    names = list(milliseconds)
    figure = Figure(figsize=(9, 1.2 + 0.4 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    medians = [milliseconds[name]["median"] for name in names]
    low = [milliseconds[name]["median"] - milliseconds[name]["p10"] for name in names]
    high = [milliseconds[name]["p90"] - milliseconds[name]["median"] for name in names]
    axes.barh(names, medians, color=_COLOR, xerr=[low, high], error_kw={"ecolor": "#222222"})
    for row, median in enumerate(medians):
        axes.text(0, row, f"  {median:.1f}", va="center", color="white", fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds, median and 10th to 90th percentile")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
    return path
