"""Scattered convolutions: they compute their non-zero filters only and write zeros for the others.

A zero filter that writes into a residual stream cannot be cut while another layer writes the same
channel. It is exact, too, to compute only the other filters and to leave zeros between them. That
costs a copy, so it is used only where it was measured to be faster.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from secateur.evaluation_mode import evaluation_mode
from secateur.filters import as_arguments
from secateur.network_copy import copy_network

_WARM_UP = 2


class ScatteredConv2d(nn.Conv2d):
    """A convolution that writes only some of its output channels; the others are zero.

    Args:
        conv: Ungrouped convolution to take geometry, device and type from.
        places: Index of the output channel that each filter writes, (filters,).
        width: Number of output channels.

    Raises:
        ValueError: If a place is not among the output channels or taken twice.
    """

    places: Tensor

    def __init__(self, conv: nn.Conv2d, places: Tensor, width: int) -> None:
        """Make room for the filters; their weights are undefined."""
        taken = places.tolist()
        if len(set(taken)) != len(taken) or not set(taken) <= set(range(width)):
            raise ValueError(f"places of filters must be different numbers from 0 to {width - 1}")
        super().__init__(
            conv.in_channels,
            len(taken),
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            bias=conv.bias is not None,
            padding_mode=conv.padding_mode,
            device=conv.weight.device,
            dtype=conv.weight.dtype,
        )
        self.width = width
        self.register_buffer("places", places.to(conv.weight.device))

    def forward(self, images: Tensor) -> Tensor:
        """Convolve (B, channels, H, W) to (B, width, H', W')."""
        found = super().forward(images)
        shape = (found.shape[0], self.width, found.shape[2], found.shape[3])
        return found.new_zeros(shape).index_copy(1, self.places, found)

    def extra_repr(self) -> str:
        """Sizes as those of a convolution, and the width."""
        sizes = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{sizes}, width={self.width}"


class ScatterResult(NamedTuple):
    """A network with scattered convolutions.

    Args:
        model: A copy with them; the original is untouched.
        speedups: Layer -> time of the plain convolution over that of the scattered one.
    """

    model: nn.Module
    speedups: dict[str, float]


@torch.no_grad()
def scatter_zero_filters(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    *,
    runs: int = 15,
    min_speedup: float = 1.05,
) -> ScatterResult:
    """Replace convolutions that have zero filters, where that is faster on this machine.

    Args:
        model: A slim network, whose remaining zero filters write channels that others write too.
        example_inputs: One input tensor or the arguments of the forward, of the size that the
            network will run on: whether the copy pays depends on it.
        runs: Timed calls of each layer in either form.
        min_speedup: How many times as fast the scattered layer must be; 0 takes all.
    """
    arguments = as_arguments(example_inputs)
    result = copy_network(model)
    candidates = {
        name: scattered
        for name, layer in result.named_modules()
        if type(layer) is nn.Conv2d and (scattered := _without_zeros(layer)) is not None
    }
    inputs = _inputs_of(result, candidates, arguments)
    speedups: dict[str, float] = {}
    for name, scattered in candidates.items():
        owner, _, attribute = name.rpartition(".")
        layer = result.get_submodule(name)
        speedup = _speedup(layer, scattered, inputs[name], runs)
        if speedup >= min_speedup:
            speedups[name] = speedup
            setattr(result.get_submodule(owner), attribute, scattered.train(layer.training))
    return ScatterResult(result, speedups)


def _without_zeros(layer: nn.Conv2d) -> ScatteredConv2d | None:
    """The layer without its zero filters; None if it has none or only such."""
    written = layer.weight.flatten(1).any(1)
    if layer.bias is not None:
        written |= layer.bias != 0
    if layer.groups > 1 or bool(written.all()) or not bool(written.any()):
        return None
    scattered = ScatteredConv2d(layer, written.nonzero()[:, 0], layer.out_channels)
    scattered.weight = nn.Parameter(layer.weight[written], layer.weight.requires_grad)
    if layer.bias is not None:
        scattered.bias = nn.Parameter(layer.bias[written], layer.bias.requires_grad)
    return scattered


def _inputs_of(
    model: nn.Module, names: Mapping[str, object], arguments: tuple[Any, ...]
) -> dict[str, list[Tensor]]:
    """Record the inputs of all calls of each layer in one forward."""
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, given, calls=calls: calls.append(given[0])
        )
        for name, calls in found.items()
    ]
    try:
        with evaluation_mode(model):
            model(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _speedup(plain: nn.Module, scattered: nn.Module, inputs: Sequence[Tensor], runs: int) -> float:
    """Median time of one layer over that of the other, both called in turn."""
    if not inputs:
        return 0.0
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(runs + _WARM_UP):
        for layer, record in zip((plain, scattered), times, strict=True):
            start = time.perf_counter()
            for images in inputs:
                layer(images)
            if images.is_cuda:
                torch.cuda.synchronize()
            if run >= _WARM_UP:
                record.append(time.perf_counter() - start)
    return median(times[0]) / median(times[1])
