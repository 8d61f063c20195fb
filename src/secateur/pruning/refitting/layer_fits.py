"""Layer fits: the weights of one layer, fitted to what the dense network computes at its calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from secateur.pruning.refitting.layer_calls import (
    LayerCall,
    draw_positions,
    inputs_at,
    outputs_at,
)
from secateur.pruning.refitting.least_squares import (
    NormalEquations,
    Samples,
    fit_samples,
    fit_sums,
)
from secateur.pruning.refitting.paired_execution import PairedExecution, tensors_of
from secateur.slimming.graph.network_graph import NetworkGraph, is_batch_norm
from secateur.slimming.graph.operators import bind

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


@dataclass(slots=True)
class _LayerSums:
    """What is known about the calls of one layer.

    Args:
        differs: Whether the input of any call differs between the networks.
        sums: Normal equations by call; those of an earlier sweep until they are made anew.
    """

    differs: bool = False
    sums: dict[fx.Node, NormalEquations | Samples] = field(default_factory=dict)


class LayerFitter:
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
