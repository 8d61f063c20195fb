"""Figure: the house style of all plots, titles that fit, and legends that cover nothing."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from secateur.files import replacing

# Okabe and Ito (2008): told apart with any colour vision, and in grey
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
_INK = "#222222"
_STYLE: Any = {
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
}
_MARGIN = 6  # pixels that stay free at the right end of a title
_FEWEST = 12  # characters of a line of a title
_SHORT = 26  # characters of a label that leaves the curves their room
_LINE = 0.19  # inches of a line of a title, or of a legend with its gap


@contextlib.contextmanager
def new_figure(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """Give an empty figure in the house style and write it when it is drawn.

    No window system and no global state are touched. Titles that are too long go on in a second
    line rather than beyond the picture.

    Args:
        path: File to write, whole or not at all.
        size: Width and height in inches.

    Yields:
        The figure to draw on.
    """
    with mpl.rc_context(_STYLE), replacing(path) as temporary:
        figure = Figure(figsize=size, dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        _lay_out_and_fold_titles(figure)
        figure.set_layout_engine("none")  # it is done, and takes longer than drawing
        figure.savefig(temporary, facecolor="white")


def put_legend(axes: Axes, handles: Sequence[Artist] | None = None) -> None:
    """Put the legend where no curve can be: at the right, or below if its labels are long.

    Args:
        axes: The axes whose artists have labels; without any there is no legend.
        handles: Other artists to name.
    """
    if handles is None:
        handles = axes.get_legend_handles_labels()[0]
    labels = [str(handle.get_label()) for handle in handles]
    if not labels:
        return
    if max(map(len, labels)) <= _SHORT:
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    room = int(12 * figure.get_figwidth())  # characters of a line as wide as the picture
    labels = [textwrap.fill(label, room) for label in labels]
    lines = sum(label.count("\n") + 1 for label in labels)
    longest = max(len(line) for label in labels for line in label.splitlines())
    columns = min(len(labels), max(1, int(figure.get_figwidth() / (0.08 * longest + 0.6))))
    rows = -(-lines // columns)
    figure.set_figheight(figure.get_figheight() + _LINE * rows)  # the axes keep theirs
    figure.legend(handles, labels, loc="outside lower left", fontsize=9, ncols=columns)


def _lay_out_and_fold_titles(figure: Figure) -> None:
    """Break titles into lines that end before the picture or the next title does.

    A layout makes room for the whole width of a title, at the expense of the axes, so the first
    one sees its beginning alone.
    """
    titles: list[tuple[Text, Axes | None]] = [(text, None) for text in figure.texts]
    titles += [(axes.set_title(axes.get_title("left"), loc="left"), axes) for axes in figure.axes]
    wholes = [text.get_text() for text, _ in titles]
    for (text, _), whole in zip(titles, wholes, strict=True):
        text.set_text(whole[:_FEWEST])
    _lay_out(figure)
    for (text, axes), whole in zip(titles, wholes, strict=True):
        _fold(text, whole, _right_end(figure, axes) - _MARGIN)
    more = max((text.get_text().count("\n") for text, _ in titles), default=0)
    if more:  # the axes keep their height
        figure.set_figheight(figure.get_figheight() + _LINE * more)
        _lay_out(figure)


def _fold(text: Text, whole: str, right: float) -> None:
    """Write a title in as few lines as end before a number of pixels."""
    text.set_text(whole)
    box = text.get_window_extent()
    if not whole or box.x1 <= right:
        return
    characters = int(len(whole) * (right - box.x0) / box.width)
    while True:
        text.set_text(textwrap.fill(whole, max(_FEWEST, characters)))
        if text.get_window_extent().x1 <= right or characters <= _FEWEST:
            return
        characters -= 1


def _lay_out(figure: Figure) -> None:
    """Make room for titles, labels and legends."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)


def _right_end(figure: Figure, axes: Axes | None) -> float:
    """Where the room for a title ends, in pixels: at the next title of the row or the picture."""
    if axes is None:
        return float(figure.bbox.x1)
    own = axes.get_position()
    neighbors = [
        figure.bbox.width * box.x0
        for other in figure.axes
        if other.get_title("left")
        and (box := other.get_position()).x0 > own.x1
        and box.y0 < own.y1
        and box.y1 > own.y0
    ]
    return float(min([figure.bbox.x1, *neighbors]))
