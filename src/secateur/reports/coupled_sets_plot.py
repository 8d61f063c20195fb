"""Picture of coupled sets: which layers can only lose channels together, and what must stay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from secateur.reports.figure import COLORS, new_figure

_FREE, _HELD = COLORS[0], "#BBBBBB"
_MOST_ROWS = 40
_MOST_NAMES = 90  # layers that can still be named below the columns


class Group(Protocol):
    """Channel sets that lie in the same layers, such as ``pruning.coupled_groups`` makes."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers."""

    @property
    def channels(self) -> int:
        """Number of sets."""

    @property
    def removable(self) -> int:
        """How many of them may be removed."""

    @property
    def reason(self) -> str:
        """Why the others stay."""


def plot_coupled_sets(path: Path, groups: Sequence[Group], *, title: str) -> Path:
    """Draw one row per group of tied layers and one column per layer.

    A cell is filled where the layer writes channels of the group: in color if they may go, in
    gray if they have to stay. Behind each row stand its channels, and the reason if some stay.

    Args:
        path: File to write.
        groups: The groups in the order of the network; of more than 40, those of most layers and
            channels are drawn.
        title: Title of the plot.

    Returns:
        The file written.
    """
    weighty = sorted(groups, key=lambda group: -len(group.layers) * group.channels)[:_MOST_ROWS]
    rows = [group for group in groups if any(group is one for one in weighty)]
    layers = list(dict.fromkeys(name for group in rows for name in group.layers))
    cells = np.zeros((len(rows), len(layers)))
    for row, group in enumerate(rows):
        for name in group.layers:
            cells[row, layers.index(name)] = 1 if group.removable else 2
    named = len(layers) <= _MOST_NAMES
    width = min(max(0.16 * len(layers), 3.0), 16.0) + 5.5
    height = 0.24 * len(rows) + (2.6 if named else 1.2)
    with new_figure(path, (width, height)) as figure:
        axes = figure.add_subplot(title=title)
        colors = ListedColormap(["white", _FREE, _HELD])
        axes.imshow(cells, cmap=colors, vmin=0, vmax=2, aspect="auto", interpolation="nearest")
        axes.set_xticks(
            range(len(layers)) if named else [], layers if named else [], rotation=90, fontsize=6
        )
        axes.set_xlabel("" if named else f"{len(layers)} layers in the order of the network")
        axes.set_yticks(range(len(rows)), [_channels(group) for group in rows], fontsize=7)
        axes.set_xticks(np.arange(-0.5, len(layers)), minor=True)
        axes.set_yticks(np.arange(-0.5, len(rows)), minor=True)
        axes.grid(which="minor", color="#E8E8E8", linewidth=0.5)
        axes.tick_params(which="both", length=0)
        for row, group in enumerate(rows):
            if group.reason:
                text = group.reason if len(group.reason) <= 70 else f"{group.reason[:67]}..."
                axes.text(len(layers), row, text, va="center", fontsize=6, color="#777777")
        axes.legend(
            handles=[Patch(color=_FREE, label="may go"), Patch(color=_HELD, label="stays")],
            loc="lower left",
            bbox_to_anchor=(1.0, 1.0),
            fontsize=7,
        )
    return path


def _channels(group: Group) -> str:
    """Size of a group, and what may go of it."""
    if 0 < group.removable < group.channels:
        return f"{group.removable} of {group.channels} channels"
    return f"{group.channels} channels"
