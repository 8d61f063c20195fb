"""What was drawn: figures as they were written, and whether they fit into their pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.transforms import Bbox

_WRITE = Figure.savefig


@contextmanager
def written_figures() -> Iterator[list[Figure]]:
    """Collect the figures that are written to files."""
    figures: list[Figure] = []

    def write(figure: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(figure)
        _WRITE(figure, *args, **kwargs)

    with patch.object(Figure, "savefig", write):
        yield figures


def check_fits(figure: Figure) -> None:
    """Nothing that is drawn leaves the picture, and no legend lies on axes."""
    figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 > -0.02, f"{-drawn.x0:.2f} inches are cut at the left"
    assert drawn.y0 > -0.02, f"{-drawn.y0:.2f} inches are cut below"
    assert drawn.x1 < width + 0.02, f"{drawn.x1 - width:.2f} inches are cut at the right"
    assert drawn.y1 < height + 0.02, f"{drawn.y1 - height:.2f} inches are cut above"
    for legend in figure.findobj(Legend):
        assert isinstance(legend, Legend)
        for axes in figure.axes:
            common = Bbox.intersection(legend.get_window_extent(), axes.get_window_extent())
            assert common is None or min(common.width, common.height) < 2, "a legend covers axes"
    for axes in figure.axes:
        if axes.get_visible() and axes.get_label() != "<colorbar>":
            box = axes.get_window_extent()
            assert min(box.width, box.height) > 0.25 * figure.dpi, "no room is left for the axes"
