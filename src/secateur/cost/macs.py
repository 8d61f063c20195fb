"""MACs: multiply-accumulates of the convolutions and linear layers of one forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from secateur.evaluation_mode import evaluation_mode


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one layer costs in one forward.

    Args:
        calls: How often it is called.
        macs: Multiply-accumulates of all calls together.
        activation_bytes: Bytes of input and output of its largest call: what must be in memory
            for the layer to run. Other activations that wait for later layers are not counted.
    """

    calls: int
    macs: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class Costs:
    """What the layers of a network cost in one forward.

    Args:
        layers: Cost per convolution and linear layer by name, in the order of first calls.
            What runs with a weight that is no parameter itself is under ``other``.
    """

    layers: dict[str, LayerCost]

    @property
    def total(self) -> int:
        """Multiply-accumulates of all layers together."""
        return sum(cost.macs for cost in self.layers.values())

    @property
    def peak_activation_bytes(self) -> int:
        """Most activation memory that any layer needs to run."""
        return max((cost.activation_bytes for cost in self.layers.values()), default=0)


def count_macs(model: nn.Module, example_inputs: Tensor | Sequence[Any]) -> Costs:
    """Cost of each convolution and linear layer for given inputs.

    One multiply-accumulate is one weight times one activation; bias, normalisation and matrix
    products without a parameter do not count. Operators are counted where they run, so that
    layers, functional calls and graph modules count alike.

    Args:
        model: Network; run once in evaluation mode and left as it was.
        example_inputs: One input tensor or the arguments of the forward; figures are for one
            image when the batch is of one.

    Returns:
        Costs of one forward.
    """
    arguments = (example_inputs,) if isinstance(example_inputs, Tensor) else example_inputs
    counter = MacCounter(model)
    with evaluation_mode(model), torch.no_grad(), counter:
        model(*arguments)
    return counter.costs


class MacCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context that adds up what multiplies by a weight of a network.

    Args:
        model: Network whose forward runs within the context, without gradients.
    """

    def __init__(self, model: nn.Module) -> None:
        """Start from nothing."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = {
            parameter.data_ptr(): name.removesuffix(".weight")
            for name, parameter in model.named_parameters()
        }
        self.layers: dict[str, LayerCost] = {}

    @property
    def costs(self) -> Costs:
        """What has run so far."""
        return Costs(dict(self.layers))

    def __torch_dispatch__(
        self,
        func: OpOverload[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Run one operator and count it."""
        output = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet is torch.ops.aten.convolution:
            inputs, weight, transposed = args[0], args[1], args[6]
            positions = inputs if transposed else output
            self._add(weight, positions.numel() * weight[0].numel(), inputs, output)
        elif packet in (torch.ops.aten.mm, torch.ops.aten.addmm):
            inputs, weight = args[-2:]
            if weight.data_ptr() in self.names:
                self._add(weight, inputs.numel() * weight.shape[1], inputs, output)
        return output

    def _add(self, weight: Tensor, macs: int, inputs: Tensor, output: Tensor) -> None:
        name = self.names.get(weight.data_ptr(), "other")
        before = self.layers.get(name, LayerCost(0, 0, 0))
        size = inputs.numel() * inputs.element_size() + output.numel() * output.element_size()
        self.layers[name] = LayerCost(
            before.calls + 1, before.macs + macs, max(before.activation_bytes, size)
        )
