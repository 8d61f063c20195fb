"""Measure a network layer by layer, and slim networks beside the dense one."""

from __future__ import annotations

import copy
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur.evaluation_mode import evaluation_mode
from secateur.pruning.criteria import FilterLayer
from secateur.pruning.latency_table import FRACTIONS, Grid, LatencyTable, TimedLayer
from secateur.pruning.masks import apply_masks
from secateur.pruning.slimming import slim
from secateur.pruning.trace import as_arguments
from secateur.timing import device_of, time_in_turn

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
    model = copy.deepcopy(model)
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
            transposed=isinstance(layer, nn.ConvTranspose2d),
            grids=tuple(grids[_kind(layer, inputs)] for inputs, _ in seen),
            written=sum(size for _, size in seen),
        )
    shapes = {name: layer.shape for name, layer in layers.items()}
    return LatencyTable(layers, ((0.0, 0.0),)).with_network(shapes, _low(whole))


def measure_share(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    keep: Mapping[str, Tensor],
    batchnorms: Mapping[str, str],
    align: int = 1,
) -> float:
    """Slim a network under masks and run it in turn with the dense one, on one thread.

    Args:
        model: The dense network; not changed.
        example_inputs: One input tensor or the arguments of the forward, of the size that counts.
        keep: Per layer a mask (n_filters,), True = kept.
        batchnorms: Name of the batch norm that is masked with a layer, by name of the layer.
        align: Numbers of filters become multiples of this, or stay whole.

    Returns:
        Time of the slim network over that of the dense one.

    Raises:
        InputError: If the network cannot be slimmed.
    """
    arguments = as_arguments(example_inputs)
    dense = copy.deepcopy(model).to(device_of(arguments)).eval()
    masked = copy.deepcopy(dense)
    apply_masks(masked, keep, batchnorms)
    small = slim(masked, arguments, align=align).model
    before, after = time_in_turn(
        [(dense, arguments), (small, arguments)],
        runs=_RUNS_IN_TURN,
        warmup=2,
        max_seconds=_MAX_SECONDS,
        clock=_clock(arguments),
    )
    return _low(after) / _low(before)


def _clock(arguments: tuple[Any, ...]) -> Callable[[], float]:
    """Processor time of the one thread that computes on a CPU: other work does not count."""
    return time.thread_time if device_of(arguments).type == "cpu" else time.perf_counter


def _record_calls(model: nn.Module, arguments: tuple[Any, ...]) -> _Calls:
    """What each layer reads in each of its calls, and how many elements it writes."""
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
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
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
