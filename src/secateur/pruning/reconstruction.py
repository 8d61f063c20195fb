"""Reconstruction: refit what is left of a pruned network to what the dense one computed.

Layer by layer, in the order of execution, the weights of every convolution and linear layer whose
input has changed are fitted by least squares, so that its output before normalization comes near
that of the dense network (He, Zhang and Sun, "Channel pruning for accelerating very deep neural
networks", ICCV 2017, equation 1 with the channels given, and section 3.2 for residual sums). The
input is that of the pruned network, so errors do not pile up; the error that a shortcut brings
into a sum is part of what the branch beside it is fitted to. No label and no gradient is needed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from secateur.errors import InputError
from secateur.evaluation_mode import evaluation_mode
from secateur.filters import as_arguments
from secateur.pruning.layers import match_layers
from secateur.pruning.refitting.layer_calls import (
    LayerCall,
    find_layer_calls,
)
from secateur.pruning.refitting.layer_fits import LayerFit, LayerFitter
from secateur.pruning.refitting.paired_execution import (
    PairedExecution,
    ancestors,
    bytes_held,
)
from secateur.runtime.denormals import denormals_as_zero
from secateur.slimming.graph.network_graph import NetworkGraph, trace

log = logging.getLogger(__name__)

DAMPING = 1e-3
POSITIONS = 60_000
MEMORY = 4 << 30
"""Bytes of feature maps; 48 pictures of 768 px fill 0.8 GB in EResFD, one of 512 px 0.3 in EXTD."""


def reconstruct(
    dense: nn.Module,
    masked: nn.Module,
    pictures: Iterable[Tensor | Sequence[Any]],
    *,
    exclude: Sequence[str] = (),
    damping: float = DAMPING,
    positions: int = POSITIONS,
    refit: bool = True,
    seed: int = 0,
    memory: float = MEMORY,
    traced: NetworkGraph | None = None,
    on_layer: Callable[[int, int], None] | None = None,
) -> list[LayerFit]:
    """Refit a masked network to a dense one on pictures without labels, in closed form.

    Minimizes ``||(X - mean X) W - (Y - mean Y)||^2 + damping * mean(diag X'X) * ||W - W0||^2`` for
    each layer; the difference of the means goes into the running mean of the batch norm behind the
    layer or into its bias. Where there is neither, means are not subtracted. Filters that are zero
    stay zero. A layer that is called several times is fitted to all its calls at once, in two
    sweeps, since its later inputs depend on its weights. Transposed convolutions and convolutions
    of one or three dimensions stay as they are.

    All pictures go through both networks together, operator by operator, so every layer runs once
    a sweep. What is held at a time are the feature maps of all pictures that are still needed; if
    they would take more than ``memory``, the last pictures are left out.

    Args:
        dense: Network that is to be matched; it stays untouched.
        masked: Network of the same architecture with zero filters; changed in place.
        pictures: Inputs of one forward each, such as (B, 3, H, W) tensors, all of one shape, on the
            networks' device. A hundred pictures are plenty.
        exclude: Patterns of layer names that stay as they are, such as the heads.
        damping: How strongly weights are held where they were, relative to the inputs' power.
        positions: Positions of the output that are sampled per call of a layer, over all pictures.
        refit: False moves means alone; weights stay.
        seed: Seed of the choice of positions.
        memory: Most bytes of feature maps of both networks; one item of ``pictures`` is always run.
        traced: Operator graph of ``dense`` for such pictures, if it is at hand.
        on_layer: Told after every layer how many have had their turn, and of how many.

    Returns:
        What was fitted, in the order of execution; nothing if both networks compute the same.

    Raises:
        InputError: If there are no pictures, their shapes differ, or the network cannot be traced.
    """
    batches = [as_arguments(item) for item in pictures]
    _check(batches)
    traced = traced or trace(dense, batches[0])
    layers = [n for n, m in dense.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    excluded = {name for pattern in exclude for name in match_layers(pattern, layers, "exclude")}
    calls = find_layer_calls(traced, excluded)
    batches = batches[: _affordable(traced, calls, len(batches), memory)]
    # Shrunken filters of trained networks are full of denormal numbers, see there.
    with evaluation_mode(dense, masked), torch.no_grad(), denormals_as_zero():
        fitter = LayerFitter(dense, masked, traced, calls, damping, refit)
        sweeps, done = 2 if refit and fitter.shared else 1, 0
        for _ in range(sweeps):
            execution = PairedExecution(traced, dense, masked, batches, _wanted(calls))
            for _ in _sweep(execution, traced, fitter, math.ceil(positions / len(batches)), seed):
                done += 1
                if on_layer is not None:
                    on_layer(done, sweeps * len(calls))
    return list(fitter.fits.values())


def _check(batches: Sequence[tuple[Any, ...]]) -> None:
    """Refuse what cannot be run operator by operator."""
    if not batches:
        raise InputError("reconstruction needs pictures: give at least one input of the network")
    shapes = {tuple(a.shape for a in batch if isinstance(a, Tensor)) for batch in batches}
    if len(shapes) > 1:
        first, second, *_ = sorted(str([tuple(s) for s in shape]) for shape in shapes)
        raise InputError(
            f"reconstruction needs pictures of one shape, got {first} and {second}: resize or crop "
            "them to one size and leave out a last batch that is smaller"
        )


def _affordable(traced: NetworkGraph, calls: Sequence[LayerCall], count: int, memory: float) -> int:
    """How many batches have feature maps within the memory, at least one."""
    needed = bytes_held(_in_order(traced, {call.node: call for call in calls}), _wanted(calls))
    within = max(1, min(count, int(memory // max(needed, 1))))
    if within < count:
        log.info(
            "maps of %d of %d batches of pictures fill %.1f GB: the others are not refitted on",
            within,
            count,
            within * needed / 1e9,
        )
    return within


def _wanted(calls: Iterable[LayerCall]) -> list[fx.Node]:
    """Nodes that are read while layers are fitted, once for each reading."""
    return [
        node for call in calls for node in (call.node, call.source, call.addend) if node is not None
    ]


def _in_order(traced: NetworkGraph, calls: Mapping[fx.Node, LayerCall]) -> list[fx.Node]:
    """Calls that fitting needs, each after all that it reads; a layer also after its addend."""
    needed = ancestors(_wanted(calls.values()))
    order: dict[fx.Node, None] = {}
    for last in traced.nodes:
        stack = [last] if last in needed else []
        while stack:
            node = stack[-1]
            before = list(node.all_input_nodes)
            if node in calls and (addend := calls[node].addend) is not None:
                before.append(addend)
            missing = [n for n in before if n not in order]
            if node in order or not missing:
                order[stack.pop()] = None
            else:
                stack += missing
    return [node for node in order if node.op == "call_function"]


def _sweep(
    execution: PairedExecution, traced: NetworkGraph, fitter: LayerFitter, positions: int, seed: int
) -> Iterator[LayerCall]:
    """Run both networks once and fit every layer when its turn comes; gives the layers so far."""
    calls = {call.node: call for call in fitter.calls}
    generator = torch.Generator().manual_seed(seed)
    for node in _in_order(traced, calls):
        execution.compute(node)
        if (call := calls.get(node)) is None:
            continue
        read = [n for n in (call.source, call.addend) if n is not None]
        if fitter.measure(call, execution, positions, generator) and fitter.fit(call):
            execution.recompute(node)
        for wanted in (node, *read):
            execution.release(wanted)
        yield call
