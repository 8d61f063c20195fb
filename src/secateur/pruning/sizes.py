"""Sizes: how large the slim network will be under given masks, without building it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from secateur.cost.latency import device_of, time_in_turn
from secateur.cost.layer_latency import _MAX_SECONDS, _RUNS_IN_TURN, _clock, _low, measure_layers
from secateur.cost.macs import count_macs
from secateur.cost.parameters import count_parameters
from secateur.filters import as_arguments
from secateur.network_copy import copy_network
from secateur.pruning.masks import apply_masks
from secateur.pruning.targets import LatencyTarget, NominalSparsity, Target, solve
from secateur.slimming.analysis import Analysis, find_dependencies, plan_cut
from secateur.slimming.graph.network_graph import NetworkGraph, trace
from secateur.slimming.slim import slim

Shapes = dict[str, tuple[int, ...]]


class SlimSizes:
    """Predicts the shapes that slimming leaves; the network is traced once.

    Attributes:
        dependencies: Dependencies between channel labels.
        classes: Sets of channels that can only be removed together.
        dense_parameters: Parameters of the network.
        dense_macs: Multiply-accumulates of one forward of the inputs.

    Args:
        model: Network that would be masked and slimmed; its present weights count.
        example_inputs: One input tensor or the positional arguments of the forward.
        align: Numbers of filters become multiples of this, or stay whole.
        traced: Operator graph of the network if it is at hand.

    Raises:
        InputError: If the network cannot be traced.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Tensor | Sequence[Any],
        align: int = 1,
        traced: NetworkGraph | None = None,
    ) -> None:
        self._subject = copy_network(model).cpu().eval()
        example_inputs = tree_map(_on_cpu, as_arguments(example_inputs))
        self._align = align
        traced = traced and traced.over(self._subject)
        self._traced = traced or trace(self._subject, example_inputs)
        self.dependencies, self.classes = find_dependencies(self._subject, self._traced)
        self._parameters = dict(self._subject.named_parameters())
        self._dense = {name: tensor.detach().clone() for name, tensor in self._parameters.items()}
        self._macs = {
            f"{name}.weight": cost.macs
            for name, cost in count_macs(self._subject, example_inputs).layers.items()
        }
        self.dense_parameters = count_parameters(model)
        self.dense_macs = sum(self._macs.values())

    @torch.no_grad()
    def refresh(self, model: nn.Module) -> None:
        """Take over the weights and running statistics that the network has now."""
        self._subject.load_state_dict(model.state_dict())
        self._dense = {name: tensor.detach().clone() for name, tensor in self._parameters.items()}

    @torch.no_grad()
    def shapes(self, keep: Mapping[str, Tensor], batchnorms: Mapping[str, str]) -> Shapes:
        """Shape of every parameter of the slim network; removed modules have no entry.

        Args:
            keep: Per layer a mask (n_filters,), True = kept.
            batchnorms: Name of the batch norm that is masked with a layer, by name of the layer.
        """
        try:
            apply_masks(self._subject, keep, batchnorms)
            analysis = plan_cut(self._traced, self.dependencies, self.classes, self._align)
        finally:
            for name, tensor in self._parameters.items():
                tensor.copy_(self._dense[name])
        return _shapes(self._parameters, analysis)

    def parameters(self, shapes: Shapes) -> int:
        """Parameters of the slim network."""
        return sum(math.prod(shape) for shape in shapes.values())

    @property
    def dense_shapes(self) -> Shapes:
        """Shape of every parameter of the network as it is."""
        return {name: tuple(tensor.shape) for name, tensor in self._parameters.items()}

    def macs(self, shapes: Shapes) -> float:
        """Multiply-accumulates of the slim network: they are proportional to a layer's weights."""
        return sum(
            macs * math.prod(shapes.get(name, (0,))) / self._parameters[name].numel()
            for name, macs in self._macs.items()
            if name in self._parameters
        )


class SizeUnderMasks:
    """What remains of a network under masks, in the quantity of a target.

    Args:
        model: Network that would be masked; kept by reference.
        example_inputs: One input tensor or the positional arguments of the forward.
        quantity: ``sparsity``, ``params``, ``macs`` or ``latency``; layers are measured here for
            the last, and slim networks when it is first solved.
        align: Numbers of filters become multiples of this, or stay whole.
        traced: Operator graph of the network if it is at hand.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Tensor | Sequence[Any],
        quantity: str,
        align: int = 1,
        traced: NetworkGraph | None = None,
    ) -> None:
        self.model = model
        self.quantity = quantity
        self._traced = traced
        self._slim = (
            SlimSizes(model, example_inputs, align, traced) if quantity != "sparsity" else None
        )
        self._latency = (
            LatencyTarget(measure_layers(model, example_inputs)) if quantity == "latency" else None
        )
        self._inputs = example_inputs
        self._align = align
        self._nominal: NominalSparsity | None = None
        self._batchnorms: Mapping[str, str] = {}

    def refresh(self, layers: Mapping[str, nn.Module], batchnorms: Mapping[str, str]) -> None:
        """Count with the weights that the network has now.

        Args:
            layers: Layers that are masked, by name.
            batchnorms: Name of the batch norm that is masked with a layer, by name of the layer.
        """
        self._batchnorms = batchnorms
        if self._slim is not None:
            self._slim.refresh(self.model)
        else:
            self._nominal = NominalSparsity(self.model, layers, batchnorms)

    def solve(self, masks: Callable[[int], Mapping[str, Tensor]], most: int, target: Target) -> int:
        """How many filters or sets to remove, in their order, to come closest to a target.

        Args:
            masks: Masks per layer (n_filters,) without the first n, True = kept.
            most: How many may be removed.
            target: The target, in the quantity that this counts.

        Raises:
            InputError: If even ``most`` are not enough.
        """
        slim, latency = self._slim, self._latency
        target = target.as_share(self.dense_amount)
        if slim is None or latency is None:
            return solve(lambda n: self._remaining(masks(n)), most, target)
        return latency.solve(
            lambda n: slim.shapes(masks(n), self._batchnorms),
            lambda n: measure_share(
                self.model, self._inputs, masks(n), self._batchnorms, self._align, self._traced
            ),
            most,
            target,
        )

    @property
    def dense_amount(self) -> float:
        """Parameters, multiply-accumulates or milliseconds of the dense network."""
        if self._latency is not None:
            return self._latency.table.dense_ms
        if self._slim is None:
            return float(count_parameters(self.model))
        return float(
            self._slim.dense_parameters if self.quantity == "params" else self._slim.dense_macs
        )

    def _remaining(self, keep: Mapping[str, Tensor]) -> float:
        """Share of the dense network that remains; for sparsity, that is not zero."""
        if self._slim is None:
            assert self._nominal is not None
            return 1 - self._nominal(keep)
        shapes = self._slim.shapes(keep, self._batchnorms)
        if self.quantity == "params":
            return self._slim.parameters(shapes) / self._slim.dense_parameters
        return self._slim.macs(shapes) / self._slim.dense_macs


def _shapes(parameters: Mapping[str, Tensor], analysis: Analysis) -> Shapes:
    """Shapes after the cut, biases that take constants over included."""
    used = {name for node, name in analysis.traced.names.items() if node.users}
    dead = {
        name
        for (name, dim), members in analysis.classes.slices.items()
        if dim == 0 and not bool(analysis.live[members].any())
    }
    shapes: dict[str, list[int]] = {
        name: list(tensor.shape)
        for name, tensor in parameters.items()
        if name in used and name not in dead
    }
    for name, columns in analysis.cut.blocks.items():
        if name in shapes:
            shapes[name][1] = columns.shape[1]
    for (name, dim), kept in analysis.cut.kept.items():
        if name in shapes:
            shapes[name][dim] = len(kept)
    for fold in analysis.cut.folds:
        if fold.target not in parameters and fold.target.endswith(".bias"):
            shapes[fold.target] = [len(analysis.cut.kept[fold.weight, 0])]
    return {name: tuple(shape) for name, shape in shapes.items()}


def _on_cpu(value: object) -> object:
    return value.cpu() if isinstance(value, Tensor) else value


def measure_share(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    keep: Mapping[str, Tensor],
    batchnorms: Mapping[str, str],
    align: int = 1,
    traced: NetworkGraph | None = None,
) -> float:
    """Slim a network under masks and run it in turn with the dense one, on one thread.

    Args:
        model: The dense network; not changed.
        example_inputs: One input tensor or the arguments of the forward, of the size that counts.
        keep: Per layer a mask (n_filters,), True = kept.
        batchnorms: Name of the batch norm that is masked with a layer, by name of the layer.
        align: Numbers of filters become multiples of this, or stay whole.
        traced: Operator graph of the network if it is at hand.

    Returns:
        Time of the slim network over that of the dense one.

    Raises:
        InputError: If the network cannot be slimmed.
    """
    arguments = as_arguments(example_inputs)
    dense = copy_network(model).to(device_of(arguments)).eval()
    masked = copy_network(dense)
    apply_masks(masked, keep, batchnorms)
    equal = traced is None or traced.equal
    small = slim(masked, arguments, align=align, equal=equal, traced=traced).model
    before, after = time_in_turn(
        [(dense, arguments), (small, arguments)],
        runs=_RUNS_IN_TURN,
        warmup=2,
        max_seconds=_MAX_SECONDS,
        clock=_clock(arguments),
    )
    return _low(after) / _low(before)
