from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secateur.metrics.roc import Roc, histogram_of_scores, roc_of_scores
from secateur.reports.comparison.plots import draw_parallel
from secateur.reports.comparison.runs import Run, Value
from secateur.reports.figure import new_figure, put_legend
from secateur.reports.latency_plot import plot_latency
from secateur.reports.plots import (
    FrontPoint,
    LayerFilters,
    Span,
    plot_curves,
    plot_front,
    plot_kept_filters,
    plot_precision_recall,
)
from secateur.reports.pruning_curve_plots import CurvePoint, plot_pruning_curve
from secateur.reports.search_plots import plot_history, plot_importance, plot_size_front
from secateur.reports.sensitivity_plots import plot_sensitivity, plot_sensitivity_map
from secateur.reports.verification_plots import plot_det, plot_roc, plot_score_histogram
from tests.reports.drawn import check_fits, written_figures

TITLES = {
    "short": "Verification",
    "long": "Held-out distance from the dense network with one of the layers pruned, without "
    "training, on the pictures of people who are set aside",
    "unbroken": "mobilefacenet-" + 12 * "best_dense_of_a_long_run_",
}
LABELS = {
    "short": "hard",
    "layer": "backbone.layer3.0.conv1",
    "long": "eresfd-fpgm-target{'macs': 0.5}-demo_faces-seed0-11 of a sweep of weights",
    "path": "/data/runs/" + 9 * "a_folder_within/" + "checkpoints/best_dense.ckpt",
}
Draw = Callable[[Path, str, list[str]], Path]


def rocs(labels: list[str]) -> dict[str, Roc]:
    same = np.arange(4000) % 2 == 0
    random = np.random.default_rng(0)
    return {
        label: roc_of_scores(0.2 * random.standard_normal(4000) + 0.4 * same, same)
        for label in labels
    }


def losses(labels: list[str], n_parts: int) -> dict[str, list[tuple[float, float]]]:
    rates = (0.1, 0.3, 0.5, 0.9375)
    return {
        f"{label}{i or ''}": [(rate, 1.0 + rate * (i % 7) ** 2) for rate in rates]
        for i in range(n_parts)
        for label in labels
    }


def kept(path: Path, title: str, labels: list[str]) -> Path:
    layers = [LayerFilters(f"{label}.{i}", 128, 5, 9) for label in labels for i in range(30)]
    return plot_kept_filters(path, layers, title=title)


def front(path: Path, title: str, labels: list[str]) -> Path:
    points = [FrontPoint(label[:12], label, 1e4 * i, 0.1 * i) for i, label in enumerate(labels, 1)]
    return plot_front(path, points, title=title)


def precision_recall(path: Path, title: str, labels: list[str]) -> Path:
    curve = np.stack([np.linspace(1, 0.1, 100), np.linspace(0, 0.9, 100)], axis=1)
    return plot_precision_recall(path, dict.fromkeys(labels, (curve, 0.5)), title=title)


def curves(path: Path, title: str, labels: list[str]) -> Path:
    values = {label: ([0, 1, 2], [1.0, 0.5, i]) for i, label in enumerate(labels)}
    spans = [Span("dense", 0, 1), Span("fine-tuning", 2, 2)]
    return plot_curves(path, values, title=title, quantity="loss", spans=spans)


def histogram(path: Path, title: str, labels: list[str]) -> Path:
    same = np.arange(200) % 2 == 0
    scores = histogram_of_scores(np.random.default_rng(0).standard_normal(200), same)
    return plot_score_histogram(path, scores, title=title, score=labels[0][:40], threshold=0.1)


def importance(path: Path, title: str, labels: list[str]) -> Path:
    return plot_importance(
        path, {label: 1 / (i + 1) for i, label in enumerate(labels)}, title=title
    )


def no_importance(path: Path, title: str, labels: list[str]) -> Path:
    return plot_importance(path, {}, title=title)


def size_front(path: Path, title: str, labels: list[str]) -> Path:
    x, y, best = [0.1, 0.3], [-1.0, -3.0], [(0.1, -1.0)]
    return plot_size_front(path, x, y, best, title=title, size="share", quantity=labels[0][:40])


DRAWINGS: dict[str, Draw] = {
    "roc": lambda path, title, labels: plot_roc(path, rocs(labels), title=title),
    "det": lambda path, title, labels: plot_det(path, rocs(labels), title=title),
    "score histogram": histogram,
    "precision and recall": precision_recall,
    "curves": curves,
    "kept filters": kept,
    "size against quality": front,
    "history": lambda path, title, labels: plot_history(
        path, [0.1, float("nan"), 0.3], title=title, quantity=labels[0][:40]
    ),
    "importance": importance,
    "importance with few trials": no_importance,
    "front of a search": size_front,
    "sensitivity of some": lambda path, title, labels: plot_sensitivity(
        path, losses(labels, 2), 1.0, title=title, quantity="held-out loss"
    ),
    "sensitivity of many": lambda path, title, labels: plot_sensitivity(
        path, losses(labels[:1], 16), 1.0, title=title, quantity="held-out loss"
    ),
    "map of some": lambda path, title, labels: plot_sensitivity_map(
        path, losses(labels, 1), 1.0, title=title, quantity="held-out loss"
    ),
    "map of many": lambda path, title, labels: plot_sensitivity_map(
        path, losses(labels[:1], 80), 1.0, title=title, quantity="held-out loss"
    ),
}


@pytest.mark.parametrize("title", TITLES.values(), ids=TITLES.keys())
@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())
def test_titles_and_labels_fit_into_the_picture(tmp_path: Path, draw: Draw, title: str) -> None:
    with written_figures() as figures, warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that fails is told as a warning
        draw(tmp_path / "a.png", title, [LABELS["short"], LABELS["layer"]])
    check_fits(figures[0])


@pytest.mark.parametrize("labels", [[LABELS["long"], "hard"], [LABELS["path"], LABELS["long"]]])
@pytest.mark.parametrize(
    "draw",
    [DRAWINGS[name] for name in ("roc", "det", "precision and recall", "curves")],
    ids=["roc", "det", "precision and recall", "curves"],
)
def test_long_labels_leave_the_curves_their_room(
    tmp_path: Path, draw: Draw, labels: list[str]
) -> None:
    with written_figures() as figures:
        draw(tmp_path / "a.png", TITLES["long"], labels)
    check_fits(figures[0])
    assert figures[0].axes[0].get_window_extent().height > 2.0 * figures[0].dpi


def test_latencies_and_pruning_curves_fit(tmp_path: Path) -> None:
    times = {"p10": 1.0, "median": 2.0, "p90": 3.0}
    figure: dict[str, Any] = {"ap_hard": 0.5}
    with written_figures() as figures:
        plot_latency(tmp_path / "a.png", {LABELS["long"]: times, "onnx": times})
        points = [
            CurvePoint(-1, "dense", 0.0, figure),
            CurvePoint(0, "prune", 0.3, figure, 1000, 2000),
            CurvePoint(1, "hold", 0.3, figure, 1000, 2000),
        ]
        plot_pruning_curve(tmp_path / "b.png", points, "ap_hard")
    for drawn in figures:
        check_fits(drawn)


def test_the_title_of_parallel_axes_lies_on_no_value_at_their_ends(tmp_path: Path) -> None:
    records: list[dict[str, Value]] = [
        {"model": f"network_{i}", "rate": 0.1 * i, "ap_hard": 0.5 + 0.1 * i} for i in range(3)
    ]
    runs = [Run(Path(str(i)), "training", record) for i, record in enumerate(records)]
    with written_figures() as figures:
        draw_parallel(tmp_path / "a.png", runs, ["model", "rate", "ap_hard"], "ap_hard")
    check_fits(figures[0])
    (title,) = (text.get_window_extent() for text in figures[0].texts)
    assert not any(text.get_window_extent().overlaps(title) for text in figures[0].axes[0].texts)


def test_a_title_beside_another_ends_before_it(tmp_path: Path) -> None:
    with written_figures() as figures, new_figure(tmp_path / "a.png", (7, 3)) as figure:
        first, second = figure.subplots(1, 2)
        first.set_title(TITLES["long"])
        second.set_title("Second")
    text = first._left_title
    assert text.get_window_extent().x1 < second.get_window_extent().x0
    assert " ".join(text.get_text().split()) == TITLES["long"]
    check_fits(figures[0])


def test_without_labels_there_is_no_legend(tmp_path: Path) -> None:
    with new_figure(tmp_path / "a.png", (4, 3)) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1])
        put_legend(axes)
    assert axes.get_legend() is None
    assert not figure.legends
