from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from secateur.reports.plots import (
    FrontPoint,
    LayerFilters,
    Span,
    front,
    plot_curves,
    plot_front,
    plot_kept_filters,
    plot_precision_recall,
)


def check_picture(path: Path, color: str | None = None) -> None:
    """A readable picture that is not empty and shows a colour."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert min(pixels.shape[:2]) > 100
    assert pixels.std() > 1
    if color is not None:
        wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels.astype(int) - wanted).sum(axis=2) < 12).any()
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_curves(tmp_path: Path) -> None:
    curves = {"a": ([0, 1, 2], [1.0, 0.5, np.nan]), "b": ([], [])}
    path = plot_curves(
        tmp_path / "a.png",
        curves,
        title="t",
        quantity="q",
        spans=[Span("x", 0, 1)],
        unit_range=True,
    )
    check_picture(path, "#0072B2")


@pytest.mark.parametrize("n", [0, 1, 87, 130])
def test_kept_filters_of_any_number_of_layers(tmp_path: Path, n: int) -> None:
    layers = [LayerFilters(f"layer{i}", 16, 5, 9) for i in range(n)]
    path = plot_kept_filters(tmp_path / "a.png", layers, title="t")
    check_picture(path, "#0072B2" if n else None)


def test_precision_recall(tmp_path: Path) -> None:
    curve = np.stack([np.linspace(1, 0.2, 1000), np.linspace(0, 0.9, 1000)], axis=1)
    curve[:3, 0] = np.nan
    path = plot_precision_recall(tmp_path / "a.png", {"hard": (curve, 0.5)}, title="t")
    check_picture(path, "#0072B2")


def test_front_keeps_what_nothing_smaller_beats(tmp_path: Path) -> None:
    points = [
        FrontPoint("a", "s", 10, 0.5),
        FrontPoint("b", "s", 10, 0.6),
        FrontPoint("c", "r", 20, 0.6),
        FrontPoint("d", "r", 30, 0.7),
        FrontPoint("e", "r", 5, 0.1),
    ]
    assert [p.label for p in front(points)] == ["e", "b", "d"]
    assert front([]) == []
    check_picture(plot_front(tmp_path / "a.png", points, title="t"), "#0072B2")
    check_picture(plot_front(tmp_path / "b.png", [], title="t"))
