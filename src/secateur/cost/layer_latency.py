"""How long each layer of a network takes at fewer channels, measured and interpolated."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from secateur.cost.latency import device_of, time_in_turn
from secateur.evaluation_mode import evaluation_mode
from secateur.filters import FilterLayer, as_arguments
from secateur.network_copy import copy_network

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
        beyond: Elements written by all layers together, rising, and milliseconds outside
            them.
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
        """Milliseconds and elements written of layers of given shapes, all or some of a network.

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
        """Milliseconds outside the layers, from the elements that the layers write; (B,) or one."""
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


_ROUNDS = 3

_RUNS = 2  # of each layer and size per round

_RUNS_WHOLE = 5  # of the whole network per round

_RUNS_IN_TURN = 31

_MAX_SECONDS = 5.0

_QUANTILE = 0.25  # what disturbs a run only ever adds

_Calls = dict[str, list[tuple[Tensor, int]]]

_Kind = tuple[str, tuple[int, ...]]


def measure_layers(model: nn.Module, example_inputs: Tensor | Sequence[Any]) -> LatencyTable:
    """Measure a network layer by layer, on one thread and the device of the inputs.

    Rounds go through all layers and the whole network, so that a machine that is busy for a while
    spoils one round of everything and not all of something.

    Args:
        model: Network; not changed.
        example_inputs: One input tensor or the arguments of the forward, of the size that counts.
    """
    arguments = as_arguments(example_inputs)
    model = copy_network(model)
    calls = _record_calls(model, arguments)
    kinds = {
        _kind(model.get_submodule(name), inputs): (model.get_submodule(name), inputs)
        for name, seen in calls.items()
        for inputs, _ in seen
    }
    clock = _clock(arguments)
    whole: list[float] = []
    times: defaultdict[tuple[_Kind, float, float], list[float]] = defaultdict(list)
    for _ in range(_ROUNDS):
        for kind, (layer, inputs) in kinds.items():
            for read, write in _cells(layer):
                small, some = _narrow(layer, inputs, read, write)
                times[kind, read, write] += time_in_turn(
                    [(small, (some,))], runs=_RUNS, clock=clock
                )[0]
        whole += time_in_turn([(model, arguments)], runs=_RUNS_WHOLE, clock=clock)[0]
    grids = {
        kind: _grid({cell: _low(times[kind, *cell]) for cell in _cells(layer)})
        for kind, (layer, _) in kinds.items()
    }
    layers = {}
    for name, seen in calls.items():
        layer = model.get_submodule(name)
        assert isinstance(layer.weight, Tensor)
        layers[f"{name}.weight"] = TimedLayer(
            shape=tuple(layer.weight.shape),
            depthwise=_is_depthwise(layer),
            transposed=isinstance(layer, _ConvTransposeNd),
            grids=tuple(grids[_kind(layer, inputs)] for inputs, _ in seen),
            written=sum(size for _, size in seen),
        )
    shapes = {name: layer.shape for name, layer in layers.items()}
    return LatencyTable(layers, ((0.0, 0.0),)).with_network(shapes, _low(whole))


def _clock(arguments: tuple[Any, ...]) -> Callable[[], float]:
    """Processor time of the one thread that computes on a CPU: other work does not count."""
    return time.thread_time if device_of(arguments).type == "cpu" else time.perf_counter


def _record_calls(model: nn.Module, arguments: tuple[Any, ...]) -> _Calls:
    """Record the input of every call of each layer, and how many elements it writes."""
    calls: _Calls = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, FilterLayer):

            def note(
                _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name
            ) -> None:
                calls.setdefault(name, []).append((inputs[0], output.numel()))

            handles.append(module.register_forward_hook(note))
    with evaluation_mode(model), torch.inference_mode():
        model(*arguments)
    for handle in handles:
        handle.remove()
    return calls


def _kind(layer: nn.Module, inputs: Tensor) -> _Kind:
    """Layers of one kind take equally long."""
    return str(layer), tuple(inputs.shape)


def _is_depthwise(layer: nn.Module) -> bool:
    groups = int(getattr(layer, "groups", 1))
    return groups > 1 and groups == getattr(layer, "in_channels", 0)


def _cells(layer: nn.Module) -> Iterator[tuple[float, float]]:
    """Fractions read and written at which a layer is measured."""
    for read in FRACTIONS:
        for write in FRACTIONS:
            if read == write or not _is_depthwise(layer):
                yield read, write


def _grid(times: dict[tuple[float, float], float]) -> Grid:
    """Milliseconds by fractions; a depthwise layer has those of its diagonal."""
    return tuple(
        tuple(times[(read, write) if (read, write) in times else (read, read)]
              for write in FRACTIONS)
        for read in FRACTIONS
    )  # fmt: skip


def _narrow(
    layer: nn.Module, inputs: Tensor, read: float, write: float
) -> tuple[nn.Module, Tensor]:
    """A layer of the same kind with fewer channels, and an input for it."""
    has_bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        n_read, n_write = _part(layer.in_features, read), _part(layer.out_features, write)
        with torch.device("meta"):
            small: nn.Module = nn.Linear(n_read, n_write, has_bias)
        shape = (*inputs.shape[:-1], n_read)
    else:
        assert isinstance(layer, _ConvNd)
        depthwise = _is_depthwise(layer)
        groups = _part(layer.groups, read) if depthwise else layer.groups
        n_read, n_write = (
            groups * _part(channels // layer.groups, 1.0 if depthwise else fraction)
            for channels, fraction in ((layer.in_channels, read), (layer.out_channels, write))
        )
        options: dict[str, Any] = {
            name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation")
        }
        with torch.device("meta"):
            small = type(layer)(n_read, n_write, groups=groups, bias=has_bias, **options)
        shape = (inputs.shape[0], n_read, *inputs.shape[2:])
    for name, parameter in list(small.named_parameters()):
        values = _first(layer.get_parameter(name), parameter.shape)
        setattr(small, name, nn.Parameter(values, requires_grad=False))
    return small, _first(inputs, shape)


def _part(number: int, fraction: float) -> int:
    return max(1, round(fraction * number))


def _first(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Some of the values in another shape, without a copy where the memory format allows it."""
    values = tensor.detach().flatten()[: math.prod(shape)].view(*shape)
    last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return values.contiguous(memory_format=torch.channels_last) if last else values


def _low(times: Sequence[float]) -> float:
    return float(np.quantile(times, _QUANTILE))
