"""Calls of convolutions and linear layers in an operator graph, and what they read and write."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx
from torch.nn import functional

from secateur.slimming.graph.network_graph import NetworkGraph, is_batch_norm
from secateur.slimming.graph.operators import bind, operator_name, owner_of, shapes_of


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One call of a two-dimensional convolution or a linear layer.

    Args:
        node: The call.
        source: What the layer reads.
        weight: Name of the layer's weight.
        bias: Name of its bias, if it has one.
        norm: The batch norm that alone reads the result, if there is one.
        addend: The other operand of the sum that the result goes into, if it goes into one, and
            no other layer is to make up for what goes wrong in it.
    """

    node: fx.Node
    source: fx.Node
    weight: str
    bias: str | None
    norm: fx.Node | None
    addend: fx.Node | None = None

    @property
    def layer(self) -> str:
        """Name of the layer."""
        return owner_of(self.weight)


def find_layer_calls(traced: NetworkGraph, exclude: Collection[str] = ()) -> list[LayerCall]:
    """Calls of layers whose weight is a parameter, in execution order.

    Args:
        traced: Operator graph.
        exclude: Names of layers that are passed over.
    """
    calls = []
    for node in traced.nodes:
        if operator_name(node) not in ("conv2d", "linear"):
            continue
        arguments = bind(node)
        weight, source = traced.name(arguments["weight"]), arguments["input"]
        if weight is None or owner_of(weight) in exclude or not isinstance(source, fx.Node):
            continue
        if operator_name(node) == "conv2d" and len(shapes_of(node)[0]) != 4:
            continue
        users = list(node.users)
        norm = users[0] if len(users) == 1 and is_batch_norm(users[0]) else None
        if norm is not None and traced.name(bind(norm)["running_mean"]) is None:
            norm = None
        calls.append(LayerCall(node, source, weight, traced.name(arguments["bias"]), norm))
    return _with_addends(calls, traced)


def _with_addends(calls: list[LayerCall], traced: NetworkGraph) -> list[LayerCall]:
    """Find sums; of two layers that write into one, the larger makes up for what goes wrong."""
    by_result = {call.norm or call.node: call for call in calls}
    addends: dict[fx.Node, fx.Node] = {}
    for node in traced.nodes:
        if (
            operator_name(node) != "add"
            or len(node.all_input_nodes) != 2
            or bind(node)["alpha"] != 1
        ):
            continue
        first, second = node.all_input_nodes
        if shapes_of(first) != shapes_of(second):
            continue
        for result, other in ((first, second), (second, first)):
            call = by_result.get(result) if len(result.users) == 1 else None
            rival = by_result.get(other) if len(other.users) == 1 else None
            if call is None:
                continue
            size, rival_size = _columns(call, traced), _columns(rival, traced)
            if size > rival_size or (size == rival_size and result is second):
                addends[call.node] = other
    return [replace(call, addend=addends.get(call.node)) for call in calls]


def _columns(call: LayerCall | None, traced: NetworkGraph) -> int:
    """Weights of one filter; 0 for no layer."""
    return 0 if call is None else traced.tensors[call.weight][0].numel()


def draw_positions(
    call: LayerCall, output: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Some positions of a layer's output, as indices into all of its rows; all if there are few.

    Args:
        call: The call.
        output: Its result, (B, O, H, W) or (..., O).
        count: How many.
        generator: Source of chance.

    Returns:
        (P,) indices.
    """
    rows = output.numel() // _channels(call, output)
    drawn = (
        torch.randint(rows, (count,), generator=generator) if rows > count else torch.arange(rows)
    )
    return drawn.to(output.device)


def outputs_at(call: LayerCall, output: Tensor, positions: Tensor) -> Tensor:
    """Outputs of a layer at positions, (P, O).

    Args:
        call: The call.
        output: (B, O, H, W) or (..., O).
        positions: (P,) indices as ``draw_positions`` gives them.
    """
    rows = output.movedim(1, -1) if output.dim() == 4 and _is_convolution(call) else output
    return rows.reshape(-1, _channels(call, output))[positions]


def inputs_at(
    call: LayerCall, features: Tensor, weight: Tensor, output: Tensor, positions: Tensor
) -> Tensor:
    """What a layer multiplies its weights with at positions of its output.

    Args:
        call: The call.
        features: (B, C, H, W) or (..., K) what the layer reads.
        weight: Its weight.
        output: Its result for these features, for the shape.
        positions: (P,) indices as ``draw_positions`` gives them.

    Returns:
        (P, G, K): for each of G groups the inputs in the order of ``weight.flatten(1)``.
    """
    if not _is_convolution(call):
        return features.reshape(-1, features.shape[-1])[positions][:, None]
    arguments = bind(call.node)
    kernel = weight.shape[2:]
    stride, dilation = _pair(arguments["stride"]), _pair(arguments["dilation"])
    padded = functional.pad(features, _padding(arguments["padding"], kernel, dilation))
    width = padded.shape[3]
    out_height, out_width = output.shape[2:]
    column = positions % out_width
    row = positions // out_width % out_height
    picture = positions // (out_width * out_height)
    corner = (picture * padded.shape[2] + row * stride[0]) * width + column * stride[1]
    down = torch.arange(kernel[0], device=corner.device) * dilation[0] * width
    right = torch.arange(kernel[1], device=corner.device) * dilation[1]
    indices = corner[:, None] + (down[:, None] + right).flatten()
    pixels = padded.movedim(1, -1).reshape(-1, padded.shape[1])[indices]
    groups = int(arguments["groups"])
    return pixels.mT.reshape(len(positions), groups, -1)


def _is_convolution(call: LayerCall) -> bool:
    return operator_name(call.node) == "conv2d"


def _channels(call: LayerCall, output: Tensor) -> int:
    return output.shape[1] if _is_convolution(call) else output.shape[-1]


def _pair(value: int | list[int]) -> tuple[int, int]:
    """Two numbers, of which one may stand for both."""
    numbers = [value] if isinstance(value, int) else list(value)
    return numbers[0], numbers[-1]


def _padding(
    value: int | list[int] | str, kernel: torch.Size, dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Padding left, right, at the top and at the bottom."""
    if value == "valid":
        return 0, 0, 0, 0
    if value == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        top, left = (t // 2 for t in total)
        return left, total[1] - left, top, total[0] - top
    assert not isinstance(value, str)
    vertical, horizontal = _pair(value)
    return horizontal, horizontal, vertical, vertical
