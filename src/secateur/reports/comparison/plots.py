"""The plots of a comparison as pictures, each with its numbers as CSV beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import PercentFormatter

from secateur.files import atomic_write
from secateur.metrics.names import find_figure, label_of
from secateur.reports.comparison.front import pareto_front
from secateur.reports.comparison.runs import Points, Run
from secateur.reports.comparison.table import axis_labels, cut_labels, values_of
from secateur.reports.figure import COLORS, new_figure, put_legend

_MOST_LINES = 21  # seven colours in three kinds of line


def draw_comparison(
    folder: Path,
    runs: Sequence[Run],
    data: Mapping[str, object],
) -> list[Path]:
    """Draw every plot of the page into a folder.

    Args:
        folder: Where ``NAME.png`` and ``NAME.csv`` go.
        runs: The runs, in the order of the table.
        data: What the page shows, as of `secateur.reports.comparison.page.page_data`.

    Returns:
        The pictures written.
    """
    quality = str(data["quality"])
    sizes, axes = data["sizes"], data["axes"]
    references = data["references"]
    assert isinstance(sizes, list)
    assert isinstance(axes, list)
    assert isinstance(references, list)
    written = []
    for size in ("params_slim", "macs_slim", "latency_ms_slim", "latency_ratio"):
        if quality and size in sizes:
            path = folder / f"front_{size}.png"
            if draw_front(path, runs, size, quality, references):
                written.append(path)
    if draw_parallel(folder / "parallel.png", runs, axes, quality):
        written.append(folder / "parallel.png")
    for name in ("train/loss", f"val/{quality}", f"holdout/{quality}"):
        curves = {run.label: run.curves[name] for run in runs if name in run.curves}
        path = folder / f"curves_{name.replace('/', '_')}.png"
        if any(len(epochs) > 1 for epochs, _ in curves.values()):
            of = "held out, " if name.startswith("holdout/") else ""
            draw_lines(path, curves, "epoch", of + label_of(name))
            written.append(path)
    settings = dict.fromkeys(name for run in runs for name in run.precision_recall)
    for name in settings:
        curves = {r.label: r.precision_recall[name] for r in runs if name in r.precision_recall}
        path = folder / f"precision_recall_{name}.png"
        draw_lines(path, curves, "recall", "precision")
        written.append(path)
    curves = {run.label: next(iter(run.roc.values())) for run in runs if run.roc}
    if curves:
        path = folder / "roc.png"
        draw_lines(path, curves, "false accept rate", "true accept rate", log_x=True)
        written.append(path)
    for model in dict.fromkeys(str(run.record.get("model")) for run in runs if run.layers):
        members = [r for r in runs if r.layers and str(r.record.get("model")) == model]
        written.append(draw_layers(folder / f"kept_filters_{model}.png", members))
    return written


def draw_front(
    path: Path,
    runs: Sequence[Run],
    size: str,
    quality: str,
    references: Sequence[Mapping[str, str | float]] = (),
) -> bool:
    """Draw quality against size, and the line of networks that no smaller one beats.

    Args:
        path: File to write; the points lie beside it as CSV.
        runs: The runs.
        size: Name of the figure on the horizontal axis.
        quality: Name of that on the vertical axis.
        references: Points to compare with.

    Returns:
        Whether there was a point to draw.
    """
    points: list[tuple[str, str, float, float]] = []
    for run in runs:
        x, y = run.record.get(size), run.record.get(quality)
        if isinstance(x, int | float) and isinstance(y, int | float):
            points.append((run.label, series_of(run), float(x), float(y)))
    if not points:
        return False
    figure_of_quality = find_figure(quality)
    larger = figure_of_quality is None or figure_of_quality.goal != "min"
    best = pareto_front([p[2] for p in points], [p[3] for p in points], larger_is_better=larger)
    others = [
        (str(one["name"]), "reference", float(one[size]), float(one[quality]))
        for one in references
        if isinstance(one.get(size), int | float) and isinstance(one.get(quality), int | float)
    ]
    table = [["name", "series", size, quality, "on_front"]]
    table += [[*map(str, p), str(i in best)] for i, p in enumerate(points)]
    table += [[*map(str, p), ""] for p in others]
    _write_rows(path.with_suffix(".csv"), table)
    with new_figure(path, (7.4, 4.6)) as figure:
        axes = figure.add_subplot(xlabel=label_of(size), ylabel=label_of(quality))
        axes.set_title(f"{label_of(quality)} against {label_of(size)}")
        axes.grid()
        line = [points[i] for i in best]
        axes.step(
            [p[2] for p in line],
            [p[3] for p in line],
            where="post",
            color="#AAAAAA",
            linewidth=1.2,
            label="best of its size",
        )
        for i, name in enumerate(dict.fromkeys(p[1] for p in points)):
            members = [p for p in points if p[1] == name]
            axes.plot(
                [p[2] for p in members],
                [p[3] for p in members],
                "os^Dvp*"[i % 7],
                color=COLORS[i % len(COLORS)],
                markeredgecolor="white",
                markersize=8,
                label=name,
            )
        if others:
            xs, ys = [p[2] for p in others], [p[3] for p in others]
            label = ", ".join(
                ["references", *sorted({str(o["data"]) for o in references if "data" in o})]
            )
            axes.plot(xs, ys, "*", color="#555555", fillstyle="none", label=label)
        if size.startswith(("params", "macs")):
            axes.xaxis.set_major_formatter(lambda value, _: _short(value))
        axes.margins(x=0.08, y=0.12)
        put_legend(axes)
    return True


def draw_parallel(path: Path, runs: Sequence[Run], names: Sequence[str], quality: str) -> bool:
    """Draw each run as a line over parallel axes, tinted by a figure of quality.

    Args:
        path: File to write; the values lie beside it as CSV.
        runs: The runs.
        names: Values on the axes; those that are the same everywhere are left out.
        quality: Figure that gives the tint.

    Returns:
        Whether there were two axes and two runs to draw.
    """
    values = [found for run in runs if quality in (found := values_of(run))]
    names = [n for n in names if len({v[n] for v in values if n in v}) > 1]
    if len(names) < 2 or len(values) < 2:
        return False
    _write_rows(
        path.with_suffix(".csv"),
        [["run", *names], *([str(v["run"]), *(str(v.get(n, "")) for n in names)] for v in values)],
    )
    heads = axis_labels(names)
    tints = np.array([float(value[quality]) for value in values])
    low, high = float(tints.min()), float(tints.max())
    with new_figure(path, (max(6.0, 1.3 * len(names)), 4.4)) as figure:
        axes = figure.add_subplot()
        # of the figure: a title of the axes would lie on the values at their ends
        figure.suptitle("Rates and figures side by side", x=0.01, ha="left")
        heights = np.full((len(values), len(names)), np.nan)
        for column, name in enumerate(names):
            cells = [value.get(name) for value in values]
            numeric = all(isinstance(one, int | float) for one in cells if one is not None)
            kinds = sorted({str(one) for one in cells if one is not None})
            numbers = np.array(
                [
                    np.nan if one is None else float(one) if numeric else kinds.index(str(one))
                    for one in cells
                ]
            )
            bottom, top = float(np.nanmin(numbers)), float(np.nanmax(numbers))
            heights[:, column] = (numbers - bottom) / ((top - bottom) or 1.0)
            ends = [_short(bottom), _short(top)] if numeric else cut_labels(kinds, 18)
            axes.text(column, -0.04, ends[0], ha="center", va="top", fontsize=8)
            axes.text(column, 1.04, ends[-1], ha="center", va="bottom", fontsize=8)
            axes.axvline(column, color="#888888", linewidth=0.8)
        colors = colormaps["viridis"]((tints - low) / ((high - low) or 1.0))
        for row, tint in zip(heights, colors, strict=True):
            axes.plot(range(len(names)), row, color=tint, linewidth=1.4, alpha=0.85)
        axes.set_xticks(range(len(names)), [heads[name] for name in names], fontsize=8)
        axes.tick_params(axis="x", length=0, pad=14)
        axes.set(ylim=(-0.02, 1.02), yticks=[])
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
    return True


def draw_lines(
    path: Path, curves: Mapping[str, Points], x: str, y: str, *, log_x: bool = False
) -> Path:
    """Draw one line per run.

    Args:
        path: File to write; the points lie beside it as CSV.
        curves: Positions by the name of the run.
        x: Name of the horizontal axis.
        y: Name of the vertical axis.
        log_x: Whether the horizontal axis is logarithmic.
    """
    rows = [["run", x, y]]
    for name, (xs, ys) in curves.items():
        rows += [[name, repr(a), repr(b)] for a, b in zip(xs, ys, strict=True)]
    _write_rows(path.with_suffix(".csv"), rows)
    shown = dict(list(curves.items())[:_MOST_LINES])
    with new_figure(path, (8.2, 4.4)) as figure:
        axes = figure.add_subplot(xlabel=x, ylabel=y)
        more = (
            f" (the first {len(shown)} of {len(curves)} runs)" if len(shown) < len(curves) else ""
        )
        axes.set_title(f"{y} over {x}{more}")
        axes.grid(axis="y")
        for i, (name, (xs, ys)) in enumerate(shown.items()):
            style = ("-", "--", ":")[i // len(COLORS) % 3]
            axes.plot(xs, ys, style, color=COLORS[i % len(COLORS)], label=name, linewidth=1.5)
        if log_x:
            axes.set_xscale("log")
        put_legend(axes)
    return path


def draw_layers(path: Path, runs: Sequence[Run]) -> Path:
    """Draw the share of filters kept in each layer, one column per run.

    Args:
        path: File to write; the counts lie beside it as CSV.
        runs: Runs of one network.
    """
    names = list(dict.fromkeys(row.name for run in runs for row in run.layers))
    rows = [["run", "layer", "filters", "kept", "slim"]]
    shares = np.full((len(names), len(runs)), np.nan)
    for column, run in enumerate(runs):
        for row in run.layers:
            rows.append([run.name, row.name, *map(str, (row.filters, row.kept, row.slim))])
            shares[names.index(row.name), column] = row.kept / row.filters
    _write_rows(path.with_suffix(".csv"), rows)
    size = (2.6 + 0.34 * len(runs), 1.8 + 0.15 * len(names))
    with new_figure(path, (max(5.0, size[0]), max(3.2, size[1]))) as figure:
        axes = figure.add_subplot()
        axes.set_title(f"{runs[0].record.get('model')}: filters kept")
        image = axes.imshow(shares, aspect="auto", cmap="cividis", vmin=0, vmax=1)
        ticks = cut_labels([run.label for run in runs])
        axes.set_xticks(range(len(runs)), ticks, rotation=60, ha="right")
        axes.set_yticks(range(len(names)), names, fontsize=6)
        axes.tick_params(axis="x", labelsize=7)
        figure.colorbar(image, ax=axes, format=PercentFormatter(1.0), shrink=0.6)
    return path


def series_of(run: Run) -> str:
    """What a run belongs to in a legend: its network and criterion."""
    model, criterion = run.record.get("model"), run.record.get("criterion")
    kind = "evaluated" if run.kind == "evaluation" else "dense"
    return " · ".join(str(part) for part in (model, criterion or kind) if part)


def _short(value: float) -> str:
    """Write 92 k, 1.2 M or 0.31."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"


def _write_rows(path: Path, rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    atomic_write(path, text.getvalue())
