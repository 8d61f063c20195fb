"""How long each layer takes on this machine, for all numbers of channels it may come to have."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secateur.evaluation_mode import evaluation_mode
from secateur.pruning.criteria import FilterLayer
from secateur.pruning.trace import as_arguments

_FRACTIONS = (0.1, 0.4, 0.7, 1.0)  # of the channels that a layer reads, and of those it writes
_RUNS = 5

Grid = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer of the dense network.

    Args:
        shape: Shape of its weight.
        depthwise: Whether the channels it reads are those it writes.
        transposed: Whether its weight has the channels it reads first.
        grids: Per call, milliseconds by fractions read (rows) and written (columns).
        written: Elements that all calls write together.
    """

    shape: tuple[int, ...]
    depthwise: bool
    transposed: bool
    grids: tuple[Grid, ...]
    written: int


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """Measured milliseconds per layer, and of everything else together.

    Args:
        layers: Layers by the name of their weight.
        other_ms: What the whole network takes beyond its layers; it is taken to be proportional
            to the elements that the layers write.
    """

    layers: Mapping[str, _Layer]
    other_ms: float

    @property
    def dense_ms(self) -> float:
        """Time of the dense network."""
        return self.milliseconds({name: layer.shape for name, layer in self.layers.items()})

    def milliseconds(self, shapes: Mapping[str, tuple[int, ...]]) -> float:
        """Predicted time of a slim network.

        Args:
            shapes: Shape of every weight that is left, by name.
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
        whole = sum(layer.written for layer in self.layers.values())
        return total + self.other_ms * written / max(whole, 1)


def measure_layers(model: nn.Module, example_inputs: Tensor | Sequence[Any]) -> LatencyTable:
    """Measure a network layer by layer, on one thread and the device of the inputs.

    Args:
        model: Network; not changed.
        example_inputs: One input tensor or the arguments of the forward, of the size that counts.
    """
    arguments = as_arguments(example_inputs)
    model = copy.deepcopy(model)
    calls: dict[str, list[tuple[Tensor, int]]] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, FilterLayer):

            def note(
                _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name
            ) -> None:
                calls.setdefault(name, []).append((inputs[0], output.numel()))

            handles.append(module.register_forward_hook(note))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with evaluation_mode(model), torch.inference_mode():
            model(*arguments)
            for handle in handles:
                handle.remove()
            known: dict[tuple[object, ...], Grid] = {}
            layers = {
                f"{name}.weight": _measure_layer(model.get_submodule(name), seen, known)
                for name, seen in calls.items()
            }
            whole = _median_ms(model, arguments)
    finally:
        torch.set_num_threads(threads)
    own = sum(grid[-1][-1] for layer in layers.values() for grid in layer.grids)
    return LatencyTable(layers, max(whole - own, 0.0))


def _measure_layer(
    layer: nn.Module, calls: Sequence[tuple[Tensor, int]], known: dict[tuple[object, ...], Grid]
) -> _Layer:
    assert isinstance(layer.weight, Tensor)
    groups = int(getattr(layer, "groups", 1))
    depthwise = groups > 1 and groups == getattr(layer, "in_channels", 0)
    grids = []
    for inputs, _ in calls:
        # Layers of one kind take equally long.
        key = (str(layer), tuple(inputs.shape))
        if key not in known:
            known[key] = _measure_grid(layer, inputs, depthwise)
        grids.append(known[key])
    return _Layer(
        tuple(layer.weight.shape),
        depthwise,
        isinstance(layer, nn.ConvTranspose2d),
        tuple(grids),
        sum(size for _, size in calls),
    )


def _measure_grid(layer: nn.Module, inputs: Tensor, depthwise: bool) -> Grid:
    rows = []
    for read in _FRACTIONS:
        row = []
        for write in _FRACTIONS:
            if depthwise and write != read:
                row.append(math.nan)
                continue
            small, some = _narrow(layer, inputs, read, write, depthwise)
            row.append(_median_ms(small, (some,)))
        rows.append(tuple(row))
    if depthwise:
        return tuple((rows[i][i],) * len(_FRACTIONS) for i in range(len(_FRACTIONS)))
    return tuple(rows)


def _narrow(
    layer: nn.Module, inputs: Tensor, read: float, write: float, depthwise: bool
) -> tuple[nn.Module, Tensor]:
    """A layer of the same kind with fewer channels, and an input for it."""
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        some = inputs[..., : _part(layer.in_features, read)].contiguous()
        return nn.Linear(some.shape[-1], _part(layer.out_features, write), bias).to(some), some
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    groups = _part(layer.groups, read) if depthwise else layer.groups
    n_read, n_write = (
        groups * _part(channels // layer.groups, 1.0 if depthwise else fraction)
        for channels, fraction in ((layer.in_channels, read), (layer.out_channels, write))
    )
    options: dict[str, Any] = {
        name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation")
    }
    small = type(layer)(n_read, n_write, groups=groups, bias=bias, **options)
    layout = (
        torch.channels_last
        if inputs.is_contiguous(memory_format=torch.channels_last)
        else torch.contiguous_format
    )
    return small.to(inputs), inputs[:, :n_read].contiguous(memory_format=layout)


def _part(number: int, fraction: float) -> int:
    return max(1, round(fraction * number))


def _median_ms(model: nn.Module, arguments: tuple[Any, ...]) -> float:
    times = []
    for _ in range(_RUNS + 1):
        started = time.perf_counter()
        model(*arguments)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times[1:])


def _between(grid: Grid, read: float, write: float) -> float:
    """Bilinear interpolation; below the smallest fraction the line goes on, but not below 0."""
    i, a = _position(read)
    j, b = _position(write)
    low = grid[i][j] * (1 - b) + grid[i][j + 1] * b
    high = grid[i + 1][j] * (1 - b) + grid[i + 1][j + 1] * b
    return max(low * (1 - a) + high * a, 0.0)


def _position(fraction: float) -> tuple[int, float]:
    i = max(k for k in range(len(_FRACTIONS) - 1) if k == 0 or _FRACTIONS[k] <= fraction)
    return i, (fraction - _FRACTIONS[i]) / (_FRACTIONS[i + 1] - _FRACTIONS[i])
