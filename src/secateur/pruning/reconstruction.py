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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from secateur.errors import InputError
from secateur.evaluation_mode import evaluation_mode
from secateur.filters import as_arguments
from secateur.pruning.layer_calls import (
    LayerCall,
    draw_positions,
    find_layer_calls,
    inputs_at,
    outputs_at,
)
from secateur.pruning.layers import match_layers
from secateur.pruning.least_squares import NormalEquations, Samples, fit_samples, fit_sums
from secateur.pruning.paired_execution import (
    PairedExecution,
    ancestors,
    bytes_held,
    tensors_of,
)
from secateur.runtime.denormals import denormals_as_zero
from secateur.slimming.graph import NetworkGraph, is_batch_norm, trace
from secateur.slimming.operators import bind

log = logging.getLogger(__name__)

DAMPING = 1e-3
POSITIONS = 60_000
MEMORY = 4 << 30
"""Bytes of feature maps; 48 pictures of 768 px fill 0.8 GB in EResFD, one of 512 px 0.3 in EXTD."""

# Scales of a batch norm below this share of its largest: dividing by them would only fit noise.
_SMALLEST_SCALE = 1e-4


@dataclass(frozen=True, slots=True)
class LayerFit:
    """How near a layer of the pruned network comes to the dense one.

    Args:
        layer: Name of the layer.
        error_before: Squared error of its output with the weights as they were and the best means,
            over the variance of the output that is wanted; zero filters do not count.
        error_after: The same with the weights that were fitted.
        positions: Samples that were fitted to.
    """

    layer: str
    error_before: float
    error_after: float
    positions: int


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
        fitter = _Fitter(dense, masked, traced, calls, damping, refit)
        for _ in range(2 if refit and fitter.shared else 1):
            execution = PairedExecution(traced, dense, masked, batches, _wanted(calls))
            _sweep(execution, traced, fitter, math.ceil(positions / len(batches)), seed)
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
    execution: PairedExecution, traced: NetworkGraph, fitter: _Fitter, positions: int, seed: int
) -> None:
    """Run both networks once and fit every layer when its turn comes."""
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


@dataclass(slots=True)
class _LayerSums:
    """What is known about the calls of one layer.

    Args:
        differs: Whether the input of any call differs between the networks.
        sums: Normal equations by call; those of an earlier sweep until they are made anew.
    """

    differs: bool = False
    sums: dict[fx.Node, NormalEquations | Samples] = field(default_factory=dict)


class _Fitter:
    """Fits layers to what was summed up about their calls.

    Everything is in the terms of the masked network as it was given: the outputs that are wanted
    are those that its batch norm turns into what the dense network's batch norm gives.
    """

    def __init__(
        self,
        dense: nn.Module,
        masked: nn.Module,
        traced: NetworkGraph,
        calls: Sequence[LayerCall],
        damping: float,
        refit: bool,
    ) -> None:
        self.calls = calls
        self.dense, self.tensors = tensors_of(dense), tensors_of(masked)
        self.start = {name: tensor.clone() for name, tensor in self.tensors.items()}
        self.damping, self.refit = damping, refit
        self.names = traced.names
        self.means = _own_means(traced, calls)
        self.known: dict[str, _LayerSums] = {call.weight: _LayerSums() for call in calls}
        self.fits: dict[str, LayerFit] = {}

    @property
    def shared(self) -> bool:
        """Whether a layer is called several times."""
        return len(self.known) < len(self.calls)

    def measure(
        self, call: LayerCall, execution: PairedExecution, count: int, generator: torch.Generator
    ) -> bool:
        """Sum up what a call reads and should write; whether there is something to fit."""
        known = self.known[call.weight]
        addend = call.addend if call.addend and execution.differs(call.addend) else None
        known.differs |= execution.differs(call.source) or addend is not None
        alone = sum(c.weight == call.weight for c in self.calls) == 1
        if not known.differs and alone:
            return False
        weight = self.tensors[call.weight]
        slope, shift, scale = self._norms(call)
        sums = known.sums.pop(call.node, None)
        offsets = None if sums is None else (sums.offset_x, sums.offset_y)
        if offsets is None and known.sums:
            other = next(iter(known.sums.values()))
            offsets = other.offset_x, other.offset_y
        sums = None
        for batch in range(execution.count):
            output = execution.dense(call.node, batch)
            spots = draw_positions(call, output, count, generator)
            x = inputs_at(call, execution.masked(call.source, batch), weight, output, spots)
            y = outputs_at(call, output, spots) * slope + shift
            if addend is not None:
                error = execution.dense(addend, batch) - execution.masked(addend, batch)
                y = y + outputs_at(call, error, spots) * scale
            y = y.view(len(y), x.shape[1], -1)
            if sums is None:
                few = alone and len(spots) * execution.count < x.shape[2]
                kind = Samples if few else NormalEquations
                sums = kind(*(offsets or (x.mean(0), y.mean(0))))
            sums.add(x, y)
        assert sums is not None
        known.sums[call.node] = sums
        return known.differs

    def fit(self, last: LayerCall) -> bool:
        """Fit a layer to all calls that are known; whether anything of it changed."""
        known = self.known[last.weight]
        calls = [
            call for call in self.calls if call.node in known.sums and call.weight == last.weight
        ]
        by_mean = self._by_mean(known, calls)
        first = next(iter(by_mean.values()))
        start = _as_maps(self.start[last.weight], len(first.offset_x)).double()
        damping = self.damping if self.refit else None
        if isinstance(first, Samples):
            fit = fit_samples(first, start, damping, centered=None not in by_mean)
        else:
            parts = [
                (part, mean is not None)
                for mean, part in by_mean.items()
                if isinstance(part, NormalEquations)
            ]
            fit = fit_sums(parts, start, damping)
        alive = (start != 0).any(1) & self._scaled(last).view(len(start), -1)
        fitted = torch.where(alive[:, None], fit.weights, start)
        power = fit.power[alive].sum().clamp(min=torch.finfo(fit.power.dtype).tiny)
        errors = [float(e[alive].sum() / power) for e in (fit.error_before, fit.error_after)]
        count = sum(known.sums[call.node].count for call in calls)
        self.fits[last.layer] = LayerFit(last.layer, errors[0], errors[1], count)
        if self.refit:
            weight = self.tensors[last.weight]
            weight.copy_(_as_weight(fitted, weight))
        for mean, sums in by_mean.items():
            if mean is not None:
                self._shift(mean, last, sums, fitted, alive.flatten())
        return True

    def _by_mean(
        self, known: _LayerSums, calls: Sequence[LayerCall]
    ) -> dict[str | None, NormalEquations | Samples]:
        """What is known of a layer, by the bias or running mean that takes its mean over."""
        if len(calls) == 1:
            return {self._mean_of(calls[0]): known.sums[calls[0].node]}
        by_mean: dict[str | None, NormalEquations | Samples] = {}
        for call in calls:
            sums = known.sums[call.node]
            assert isinstance(sums, NormalEquations)  # samples are kept of a layer called once
            total = by_mean.setdefault(
                self._mean_of(call), NormalEquations(sums.offset_x, sums.offset_y)
            )
            assert isinstance(total, NormalEquations)
            total.add_sums(sums)
        return by_mean

    def _shift(
        self,
        name: str,
        call: LayerCall,
        sums: NormalEquations | Samples,
        weights: Tensor,
        alive: Tensor,
    ) -> None:
        """Let a bias or running mean take over the difference of the means."""
        written = (sums.mean_x[:, :, None] * weights).sum(1).flatten()
        missing = sums.mean_y.flatten() - written
        # A bias is part of the output that is wanted, and a running mean is subtracted from it.
        value = missing if name == call.bias else self.start[name] - missing
        self.tensors[name].copy_(torch.where(alive, value.to(self.start[name]), self.start[name]))

    def _mean_of(self, call: LayerCall) -> str | None:
        """Name of the bias or running mean that takes over the mean of a call."""
        return call.bias if call.bias is not None else self.means.get(call.node)

    def _norms(self, call: LayerCall) -> tuple[Tensor | float, Tensor | float, Tensor | float]:
        """From the dense layer's output to what the masked layer should write.

        Returns:
            Factor and summand for the output, and the factor for an error behind the batch norm.
        """
        if call.norm is None:
            return 1.0, 0.0, 1.0
        factor, summand = _affine(call.norm, self.names, self.dense)
        own_factor, own_summand = _affine(call.norm, self.names, self.start)
        inverse = torch.where(own_factor == 0, 0.0, 1 / own_factor)
        return factor * inverse, (summand - own_summand) * inverse, inverse

    def _scaled(self, call: LayerCall) -> Tensor:
        """Filters (O,) whose output the batch norm does not suppress."""
        weight = self.start[call.weight]
        if call.norm is None:
            return torch.ones(len(weight), dtype=torch.bool, device=weight.device)
        factor = _affine(call.norm, self.names, self.start)[0].abs()
        return factor > _SMALLEST_SCALE * factor.max()


def _affine(
    norm: fx.Node, names: Mapping[fx.Node, str], tensors: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Factor and summand of a batch norm in evaluation mode, (C,) each."""
    arguments = bind(norm)

    def tensor(key: str) -> Tensor | None:
        node = arguments[key]
        return tensors[names[node]] if isinstance(node, fx.Node) else None

    mean, variance = tensor("running_mean"), tensor("running_var")
    assert mean is not None
    assert variance is not None
    factor = (variance + arguments["eps"]).rsqrt()
    if (weight := tensor("weight")) is not None:
        factor = factor * weight
    bias = tensor("bias")
    return factor, (0.0 if bias is None else bias) - mean * factor


def _own_means(traced: NetworkGraph, calls: Iterable[LayerCall]) -> dict[fx.Node, str]:
    """Running mean behind each call, where nothing but calls of the same layer goes through it."""
    through: dict[str, set[str | None]] = {}
    weights = {call.norm: call.weight for call in calls if call.norm is not None}
    names: dict[fx.Node, str] = {}
    for node in traced.nodes:
        if is_batch_norm(node) and (name := traced.name(bind(node)["running_mean"])) is not None:
            names[node] = name
            through.setdefault(name, set()).add(weights.get(node))
    return {
        call.node: names[call.norm]
        for call in calls
        if call.norm is not None and len(through[names[call.norm]]) == 1
    }


def _as_maps(weight: Tensor, groups: int) -> Tensor:
    """Weight (O, ...) as (G, K, O / G)."""
    return weight.flatten(1).view(groups, -1, weight[0].numel()).mT


def _as_weight(maps: Tensor, like: Tensor) -> Tensor:
    """The inverse of ``_as_maps``, in the shape and type of a weight."""
    return maps.mT.reshape(like.shape).to(like)
