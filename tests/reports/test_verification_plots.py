from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from secateur.metrics.roc import Roc, equal_error, histogram_of_scores, roc_of_scores
from secateur.reports.verification_plots import (
    plot_det,
    plot_roc,
    plot_score_histogram,
    write_roc,
)


def draw_scores(n: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    random = np.random.default_rng(0)
    same = np.arange(n) % 2 == 0
    return 0.2 * random.standard_normal(n) + 0.4 * same, same


def check_picture(path: Path, color: str | None) -> None:
    """A readable picture that shows a colour."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert min(pixels.shape[:2]) > 100
    if color is not None:
        wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels.astype(int) - wanted).sum(axis=2) < 12).any()


def curves_of(*sizes: int) -> dict[str, Roc]:
    return {f"{n} pairs": roc_of_scores(*draw_scores(n)) for n in sizes}


@pytest.mark.parametrize("sizes", [(), (2,), (40, 2000, 10**5)])
def test_curves_of_any_number_of_pairs(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    for plot in (plot_roc, plot_det):
        path = plot(tmp_path / f"{plot.__name__}.png", curves_of(*sizes), title="t")
        check_picture(path, "#0072B2" if len(sizes) else None)


def test_perfect_and_useless_scores_can_be_drawn(tmp_path: Path) -> None:
    same = np.arange(20) < 10
    curves = {"perfect": roc_of_scores(same, same), "useless": roc_of_scores(0 * same, same)}
    check_picture(plot_roc(tmp_path / "a.png", curves, title="t"), "#D55E00")
    check_picture(plot_det(tmp_path / "b.png", curves, title="t"), "#D55E00")


def test_written_points_are_those_of_the_curve(tmp_path: Path) -> None:
    roc = roc_of_scores(*draw_scores(2000))
    lines = write_roc(tmp_path / "roc.csv", roc).read_text().splitlines()
    points = np.array([[float(part) for part in line.split(",")] for line in lines[1:]])
    known = set(zip(roc.far.tolist(), roc.tar.tolist(), strict=True))
    assert len(points) > 20
    assert {tuple(point) for point in points.tolist()} <= known


def test_score_histogram(tmp_path: Path) -> None:
    scores, same = draw_scores(5000)
    _, threshold = equal_error(roc_of_scores(scores, same))
    histogram = histogram_of_scores(scores, same)
    path = plot_score_histogram(tmp_path / "a.png", histogram, title="t", threshold=threshold)
    check_picture(path, "#0072B2")
    one_bin = histogram_of_scores(np.ones(4), np.arange(4) < 2, 1)
    check_picture(plot_score_histogram(tmp_path / "b.png", one_bin, title="t"), "#0072B2")
