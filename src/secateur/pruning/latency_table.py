"""What a network takes on this machine for any numbers of channels, predicted layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FRACTIONS = (0.1, 0.4, 0.7, 1.0)  # of the channels that a layer reads, and of those it writes

Grid = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class TimedLayer:
    """One layer of the dense network.

    Args:
        shape: Shape of its weight.
        depthwise: Whether the channels it reads are those it writes.
        transposed: Whether its weight has the channels it reads first.
        grids: Per call, milliseconds by ``FRACTIONS`` read (rows) and written (columns).
        written: Elements that all calls write together.
    """

    shape: tuple[int, ...]
    depthwise: bool
    transposed: bool
    grids: tuple[Grid, ...]
    written: int


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """Milliseconds of each layer, and of everything else together.

    What a network takes beyond its layers has a part that is proportional to the elements written
    (batch norms, activations, sums), and one that is the same for any number of channels (calling
    operators). So it is a line through the networks that were measured, over the elements that
    their layers write. Of the dense network alone nobody can tell the parts apart; until others
    are added the line starts at nothing for no elements.

    Args:
        layers: Layers by the name of their weight.
        beyond: Elements written by all layers together, rising, and milliseconds beyond the layers.
            The last is the dense network.
    """

    layers: Mapping[str, TimedLayer]
    beyond: tuple[tuple[float, float], ...]

    @property
    def dense_ms(self) -> float:
        """Time of the dense network, as it was measured."""
        return self.milliseconds({name: layer.shape for name, layer in self.layers.items()})

    def milliseconds(self, shapes: Mapping[str, tuple[int, ...]]) -> float:
        """Predicted time of a slim network.

        Args:
            shapes: Shape of every weight that is left, by name.
        """
        within, written = self.within(shapes)
        return within + float(self.beyond_ms(written))

    def within(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[float, float]:
        """What layers of these shapes take and write, of a network or of some of its layers.

        Args:
            shapes: Shape of every weight that counts, by name.

        Returns:
            Milliseconds and elements.
        """
        total, written = 0.0, 0.0
        for name, layer in self.layers.items():
            if name not in shapes:
                continue
            read, write = (shapes[name][d] / layer.shape[d] for d in (1, 0))
            if layer.transposed:
                read, write = write, read
            if layer.depthwise:
                read = write
            total += sum(_between(grid, read, write) for grid in layer.grids)
            written += write * layer.written
        return total, written

    def beyond_ms(self, written: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """What networks (B,) or one take beyond their layers, which write so many elements."""
        elements, times = zip(*self.beyond, strict=True)
        return np.asarray(np.interp(written, elements, times))

    def with_network(
        self, shapes: Mapping[str, tuple[int, ...]], milliseconds: float
    ) -> LatencyTable:
        """A table that is right about one more network.

        Args:
            shapes: Shape of every weight that is left, by name.
            milliseconds: What the network takes where the dense one takes ``dense_ms``.
        """
        within, written = self.within(shapes)
        points = dict(self.beyond) | {written: milliseconds - within}
        return replace(self, beyond=tuple(sorted(points.items())))


def _between(grid: Grid, read: float, write: float) -> float:
    """Bilinear interpolation; what is smaller than the smallest measured layer takes as long."""
    i, a = _position(read)
    j, b = _position(write)
    low = grid[i][j] * (1 - b) + grid[i][j + 1] * b
    high = grid[i + 1][j] * (1 - b) + grid[i + 1][j + 1] * b
    return low * (1 - a) + high * a


def _position(fraction: float) -> tuple[int, float]:
    fraction = max(fraction, FRACTIONS[0])
    i = max(k for k in range(len(FRACTIONS) - 1) if FRACTIONS[k] <= fraction)
    return i, (fraction - FRACTIONS[i]) / (FRACTIONS[i + 1] - FRACTIONS[i])
