"""Means over channels that scale a module's channels, such as the one of a global response norm.

A removed channel that is zero leaves the sum S of C channels as it is, but not its divisor: K
channels have the mean S / K, C / K times what it was. Where a module divides by the mean and
multiplies by a weight per channel, as Woo et al. 2023 (ConvNeXt V2, section 3.2) do, this can be
undone exactly: ``w g / (S / C + e) = (w C / K) g / (S / K + e C / K)``. The same goes for roots,
as in norms by the root of the mean square.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from secateur.slimming.graph.constant_propagation import ConstantValues, channel_values
from secateur.slimming.graph.network_graph import NetworkGraph, module_name
from secateur.slimming.graph.operators import bind, operator_name, owner_of

_RESCALED = "_rescaled_offsets"  # marks modules of which a slim network has numbers of its own

# Of what is c times as large, they make what is c to this power as large.
_POWERS = {"sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0}

_LAYOUTS = frozenset({"_to_copy", "expand", "reshape", "squeeze", "to", "unsqueeze", "view"})


@dataclass(frozen=True, slots=True)
class ChannelMean:
    """A mean over channels that reaches nothing but a product with a weight per channel.

    Args:
        source: The node of which it is the mean.
        dim: Dimension of the channels in it.
        labels: Labels of the channels, (channels,).
        weight: Name of the weight.
        power: The weight has to become (channels before / after) to this power as large.
        offsets: Float attributes of the weight's module that are added on the way, each with the
            power for itself.
    """

    source: fx.Node
    dim: int
    labels: Tensor
    weight: str
    power: float
    offsets: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Rescaling:
    """What has to be multiplied because a mean runs over fewer channels.

    Args:
        weight: Name of the weight.
        factor: What it is multiplied by.
        offsets: Float attributes of its module and what each is multiplied by.
    """

    weight: str
    factor: float
    offsets: tuple[tuple[str, float], ...]


def follow_mean(
    mean: fx.Node,
    dim: int,
    labels: Tensor,
    traced: NetworkGraph,
    modules: Mapping[str, nn.Module],
) -> ChannelMean | None:
    """Follow a mean over channels to the weight that can make up for its divisor.

    Args:
        mean: The call.
        dim: Dimension of the channels in its operand.
        labels: Labels of the channels, (channels,).
        traced: The operator graph.
        modules: Modules of the traced network by each of their names.

    Returns:
        What would have to change; None if the mean reaches anything else, or if a number that is
        added to it is no attribute of the module.
    """
    name = module_name(mean)
    node, power = mean, 1.0
    offsets: list[tuple[str, float]] = []
    while len(node.users) == 1:
        user = next(iter(node.users))
        operator = operator_name(user)
        others = [operand for operand in user.all_input_nodes if operand is not node]
        if sum(argument is node for argument in bind(user).values()) > 1:
            return None  # its square
        if operator in _POWERS:
            power *= _POWERS[operator]
        elif operator == "div" and bind(user).get("rounding_mode") is None:
            power = power if bind(user)["self"] is node else -power
        elif operator in ("mul", "addcmul"):
            factors = others if operator == "mul" else _factors(user, node)
            weight = next(filter(None, (_own_weight(f, name, traced) for f in factors)), None)
            if weight is not None:
                return ChannelMean(
                    mean.all_input_nodes[0], dim, labels, weight, -power, tuple(offsets)
                )
            if operator == "addcmul":
                return None
        elif operator == "add" and not others and bind(user).get("alpha", 1) == 1:
            attribute = _attribute(modules.get(name), bind(user)["other"])
            if attribute is None:
                return None
            offsets.append((attribute, power))
        elif operator not in _LAYOUTS:
            return None
        node = user
    return None


def _factors(addcmul: fx.Node, node: fx.Node) -> list[fx.Node]:
    """What a fused product and sum multiplies the node by; nothing if it is the summand."""
    a = bind(addcmul)
    if a["self"] is node:
        return []
    return [a[key] for key in ("tensor1", "tensor2") if a[key] is not node]


def _own_weight(factor: fx.Node, module: str, traced: NetworkGraph) -> str | None:
    """Name of the parameter behind a factor, if it is the module's and serves nothing else."""
    while len(factor.users) == 1:
        if (name := traced.names.get(factor)) is not None:
            return name if owner_of(name) == module else None
        if operator_name(factor) not in _LAYOUTS or len(factor.all_input_nodes) != 1:
            return None
        factor = factor.all_input_nodes[0]
    return None


def _attribute(module: nn.Module | None, number: object) -> str | None:
    """Name of the one float attribute of a module that has this value."""
    if module is None or not isinstance(number, float):
        return None
    names = [name for name, value in _floats(module).items() if value == number]
    return names[0] if len(names) == 1 else None


def needed_by_means(
    means: Sequence[ChannelMean], of: Tensor, values: ConstantValues, count: int
) -> Tensor:
    """Which classes a mean reads that are not zero for every input, (classes,) bool.

    Args:
        means: Means over channels.
        of: Class of each label, (labels,).
        values: Values of every node, from ``constant_values``.
        count: Number of classes.
    """
    needed = torch.zeros(count, dtype=torch.bool)
    for mean in means:
        zero = channel_values(values[mean.source][0], mean.dim) == 0
        needed[of[mean.labels[~zero]]] = True
    return needed


def rescalings(means: Sequence[ChannelMean], kept: Tensor) -> list[Rescaling]:
    """What has to be multiplied after a cut.

    Args:
        means: Means over channels.
        kept: Labels that stay, (labels,) bool.
    """
    found = []
    for mean in means:
        ratio = len(mean.labels) / max(int(kept[mean.labels].sum()), 1)
        if ratio != 1:
            offsets = tuple((name, ratio**power) for name, power in mean.offsets)
            found.append(Rescaling(mean.weight, ratio**mean.power, offsets))
    return found


def rescale_offsets(model: nn.Module, rescaling: Rescaling) -> None:
    """Multiply the attributes of one module, which is changed in place."""
    module = model.get_submodule(owner_of(rescaling.weight))
    for attribute, factor in rescaling.offsets:
        setattr(module, attribute, getattr(module, attribute) * factor)
        own: dict[str, Any] = vars(module)
        own[_RESCALED] = sorted({*own.get(_RESCALED, ()), attribute})


def rescaled_offsets(model: nn.Module) -> dict[str, dict[str, float]]:
    """Module -> its rescaled attributes with their values, as plain values."""
    return {
        name: {attribute: getattr(module, attribute) for attribute in vars(module)[_RESCALED]}
        for name, module in model.named_modules()
        if vars(module).get(_RESCALED)
    }


def restore_offsets(module: nn.Module, offsets: Mapping[str, float]) -> None:
    """Give a module of the dense network the numbers of the slim one.

    Args:
        module: Changed in place.
        offsets: As ``rescaled_offsets`` gives them for it.

    Raises:
        ValueError: If the module has no such float attribute.
    """
    present = _floats(module)
    for attribute, value in offsets.items():
        if attribute not in present:
            raise ValueError(f"{type(module).__name__} has no number {attribute}")
        setattr(module, attribute, float(value))
    vars(module)[_RESCALED] = sorted(offsets)


def _floats(module: nn.Module) -> dict[str, float]:
    """Public float attributes of a module."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, float) and not name.startswith("_")
    }
