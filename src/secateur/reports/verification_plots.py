"""Plots of face verification: ROC and DET curves, and how scores are spread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from scipy.special import ndtri

from secateur.files import atomic_write
from secateur.metrics.roc import Bools, Floats, Roc, ScoreHistogram, area_under_curve, equal_error
from secateur.reports.figure import COLORS, new_figure, put_legend

_DET_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8)


def plot_roc(path: Path, curves: Mapping[str, Roc], *, title: str) -> Path:
    """Plot the true accept rate over the logarithm of the false accept rate, as steps.

    Args:
        path: File to write.
        curves: A ROC for each label; the legend adds its AUC.
        title: Title of the plot.

    Returns:
        The file written.
    """
    with new_figure(path, (7.8, 4.4)) as figure:
        axes = figure.add_subplot(
            title=title, xlabel="false accept rate", ylabel="true accept rate"
        )
        axes.grid()
        lowest = min((1 / roc.n_impostor for roc in curves.values()), default=1e-3)
        for i, (label, roc) in enumerate(curves.items()):
            # below one accepted pair of different people, the pairs say nothing
            x, y = roc.far[roc.false_accepts > 0], roc.tar[roc.false_accepts > 0]
            shown = _visible(np.log10(x), y)
            axes.step(
                x[shown],
                y[shown],
                where="post",
                label=f"{label}  AUC {area_under_curve(roc):.4f}",
                color=COLORS[i % len(COLORS)],
                linestyle=_line(i),
            )
        axes.set(xscale="log", xlim=(min(lowest, 0.1), 1), ylim=(0, 1.01))
        put_legend(axes)
    return path


def write_roc(path: Path, roc: Roc) -> Path:
    """Write the points of a ROC that lie apart in a plot, so that runs can be overlaid.

    Args:
        path: File to write: columns ``false_accept_rate`` and ``true_accept_rate``.
        roc: The curve.

    Returns:
        The file written.
    """
    x, y = roc.far[roc.false_accepts > 0], roc.tar[roc.false_accepts > 0]
    shown = _visible(np.log10(x), y) if len(x) else np.zeros(0, dtype=bool)
    rows = ["false_accept_rate,true_accept_rate"]
    rows += [f"{a!r},{b!r}" for a, b in zip(x[shown].tolist(), y[shown].tolist(), strict=True)]
    return atomic_write(path, "\n".join(rows) + "\n")


def plot_det(path: Path, curves: Mapping[str, Roc], *, title: str) -> Path:
    """Plot the false reject rate over the false accept rate, both on a normal deviate scale.

    Martin et al., "The DET curve in assessment of detection task performance" (1997): scores that
    are normally distributed give a straight line.

    Args:
        path: File to write.
        curves: A ROC for each label; the legend adds its equal error rate.
        title: Title of the plot.

    Returns:
        The file written.
    """
    with new_figure(path, (7.4, 5.2)) as figure:
        axes = figure.add_subplot(
            title=title, xlabel="false accept rate", ylabel="false reject rate", aspect="equal"
        )
        axes.grid()
        fewest = [(roc.n_impostor, roc.n_genuine) for roc in curves.values()] or [(1000, 1000)]
        lows = [max(1e-6, 0.5 / max(column)) for column in zip(*fewest, strict=True)]
        for i, (label, roc) in enumerate(curves.items()):
            x, y = _deviates(roc.far, roc.n_impostor), _deviates(roc.frr, roc.n_genuine)
            shown = _visible(x, y)
            axes.plot(
                x[shown],
                y[shown],
                label=f"{label}  EER {100 * equal_error(roc)[0]:.2f} %",
                color=COLORS[i % len(COLORS)],
                linestyle=_line(i),
            )
        low, high = ndtri(min(lows)), ndtri(0.8)
        axes.plot([low, high], [low, high], ":", color="#AAAAAA", linewidth=1, zorder=0)
        _tick_deviates(axes, low, high)
        put_legend(axes)
    return path


def plot_score_histogram(
    path: Path,
    histogram: ScoreHistogram,
    *,
    title: str,
    score: str = "cosine similarity",
    threshold: float | None = None,
) -> Path:
    """Plot how the scores of one person's pairs and of different people's pairs are spread.

    Args:
        path: File to write.
        histogram: Counts of scores; some 100 bins make a readable plot.
        title: Title of the plot.
        score: What the scores are.
        threshold: A threshold to mark, such as that of the equal error rate.

    Returns:
        The file written.
    """
    with new_figure(path, (6.4, 3.8)) as figure:
        axes = figure.add_subplot(title=title, xlabel=score, ylabel="density")
        axes.grid(axis="y")
        widths = np.diff(histogram.edges)
        kinds = (
            ("different people", histogram.impostor, COLORS[1]),
            ("one person", histogram.genuine, COLORS[0]),
        )
        for label, counts, color in kinds:
            density = counts / (max(int(counts.sum()), 1) * widths)
            label = f"{label}, {counts.sum():,} pairs"
            axes.stairs(density, histogram.edges, fill=True, color=color, alpha=0.35)
            axes.stairs(density, histogram.edges, color=color, linewidth=1.4, label=label)
        if threshold is not None and np.isfinite(threshold):
            label = f"threshold {threshold:.3f}"
            axes.axvline(threshold, color="#555555", linestyle="--", linewidth=1.2, label=label)
        axes.set_ylim(bottom=0)
        put_legend(axes)
    return path


def _line(i: int) -> str:
    """Give curves lines of another kind when the colours are used up."""
    return ("-", "--", ":")[i // len(COLORS) % 3]


def _deviates(rates: Floats, n_pairs: int) -> Floats:
    """Map rates to normal deviates; 0 and 1, which have none, stand half a pair from the end."""
    return np.asarray(ndtri(np.clip(rates, 0.5 / n_pairs, 1 - 0.5 / n_pairs)))


def _visible(x: Floats, y: Floats) -> Bools:
    """Mark the points that lie apart in a plot: a million pairs make some thousand of them."""
    places = np.stack([np.rint(500 * x), np.rint(2000 * y)])
    moved: Bools = (np.diff(places, axis=1) != 0).any(axis=0)
    return np.asarray(np.append(True, moved) | np.append(moved, True))


def _tick_deviates(axes: Axes, low: float, high: float) -> None:
    """Write percentages on two axes of normal deviates."""
    rates = [rate for rate in _DET_TICKS if low <= ndtri(rate) <= high + 1e-9]
    labels = [f"{100 * rate:g} %" for rate in rates]
    axes.set_xticks(ndtri(rates), labels, rotation=45)
    axes.set_yticks(ndtri(rates), labels)
    axes.set(xlim=(low, high), ylim=(low, high))
