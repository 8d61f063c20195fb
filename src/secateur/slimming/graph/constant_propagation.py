"""Constant propagation: which activations are the same for every input, and their values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from secateur.slimming.graph.expanded_tensors import (
    along_dimension,
    broadcast_small,
    collapse,
    compress,
    shrink,
    varying_dimensions,
)
from secateur.slimming.graph.network_graph import (
    NetworkGraph,
    is_batch_norm,
    is_convolution,
    is_getitem,
)
from secateur.slimming.graph.operators import (
    AVERAGES,
    IDENTITIES,
    MOVES,
    REDUCTIONS,
    Layout,
    bind,
    is_pointwise,
    layout_of,
    move_elements,
    operator_name,
    reduced_dimensions,
    shapes_of,
    spatial_dimensions,
)


def input_free_tensors(traced: NetworkGraph) -> dict[fx.Node, Tensor]:
    """Compute every node that depends on parameters, buffers and literals only.

    Args:
        traced: The operator graph.

    Returns:
        Node -> its value in the network's own precision; nodes that yield no single tensor and
        random ones are absent.
    """
    known: dict[fx.Node, Tensor] = dict(traced.constants)
    known |= {node: traced.tensors[name].detach() for node, name in traced.names.items()}
    several: dict[object, Any] = {}  # operators with more than one result

    def laid_out(node: fx.Node) -> Tensor:
        """The value; a masked parameter is one zero for all places, which no view can take."""
        return known[node].contiguous() if node in traced.names else known[node]

    with torch.no_grad():
        for node in traced.nodes:
            target = node.target
            if is_getitem(node) and node.args[0] in several:
                known[node] = several[node.args[0]][node.args[1]]
            if not isinstance(target, torch._ops.OpOverload):
                continue
            value = node.meta.get("val")
            results = value if isinstance(value, tuple | list) else (value,)
            if not all(isinstance(result, Tensor) for result in results):
                continue
            if torch.Tag.nondeterministic_seeded in target.tags:
                continue
            if all(operand in known for operand in node.all_input_nodes):
                args = fx.node.map_arg(node.args, laid_out)
                kwargs = fx.node.map_arg(node.kwargs, laid_out)
                if isinstance(value, Tensor):
                    known[node] = target(*args, **kwargs)
                else:
                    several[node] = target(*args, **kwargs)
    return known


VARYING = float("nan")  # the value of an element that depends on the input
_ONE_VARYING = torch.tensor(VARYING, dtype=torch.float64)


class ConstantValues(dict[fx.Node, tuple[Tensor, ...]]):
    """Values of every node: one compressed tensor per result, ``VARYING`` where inputs matter.

    The values of known nodes are converted when they are first asked for.

    Args:
        known: Nodes that do not depend on the inputs, with their values.
        equal: Whether the statistics of layer norms and group norms run over all channels; if
            not, channels that are zero before one are zero behind it.
    """

    def __init__(self, known: Mapping[fx.Node, Tensor], *, equal: bool = True) -> None:
        """Start without any other node."""
        super().__init__()
        self.known = known
        self.equal = equal
        self._nonzero: dict[tuple[fx.Node, Layout], Tensor] = {}

    def __missing__(self, node: fx.Node) -> tuple[Tensor, ...]:
        """Value of a known node."""
        self[node] = (compress(self.known[node].double()),)
        return self[node]

    def nonzero(self, weight: fx.Node, layout: Layout) -> Tensor:
        """Whether a filter of a known weight depends on a channel, (filters, channels)."""
        if (weight, layout) not in self._nonzero:
            self._nonzero[weight, layout] = layout.nonzero(self.known[weight])
        return self._nonzero[weight, layout]


def constant_values(traced: NetworkGraph, known: Mapping[fx.Node, Tensor]) -> ConstantValues:
    """Find the elements of every node's results that are the same for every input.

    Args:
        traced: The operator graph.
        known: Nodes that do not depend on the inputs, with their values.

    Returns:
        Node -> one compressed tensor per result, float64, ``VARYING`` where an element depends on
        the input.
    """
    found = ConstantValues(known, equal=traced.equal)
    for node in traced.nodes:
        if node in known or node.op == "output":
            continue
        if node.op == "call_function" and node.all_input_nodes:
            found[node] = tuple(_finite(v) for v in _call(node, found, known))
        else:
            found[node] = _varying(node)
    return found


def channel_values(value: Tensor, dim: int) -> Tensor:
    """One value per index of ``dim``; NaN where it varies or is not the same everywhere else."""
    rows = shrink(value.movedim(dim, 0)).flatten(1) if value.dim() > 1 else shrink(value)[:, None]
    uniform = (rows == rows[:, :1]).all(1)
    return torch.where(uniform, rows[:, 0], VARYING).expand(value.shape[dim])


def _call(
    node: fx.Node, found: ConstantValues, known: Mapping[fx.Node, Tensor]
) -> tuple[Tensor, ...]:
    """Values of a call's results: one rule per class of operators."""
    if is_getitem(node):
        source, index = node.args
        assert isinstance(source, fx.Node)
        assert isinstance(index, int)
        return (found[source][index],)
    name = operator_name(node)
    blank = _varying(node)
    first = found[node.all_input_nodes[0]][0]
    if is_convolution(node) or name == "linear":
        result = _layer(node, first, found)
    elif is_batch_norm(node):
        result = _batch_norm(node, first, known)
    elif name == "instance_norm":
        result = _instance_norm(node, first, known)
    elif "layer_norm" in name or "group_norm" in name:
        result = _mixing_norm(node, first, known, found.equal)
    elif name in ("prelu", "_prelu_kernel"):
        slope = _beside(found[node.all_input_nodes[1]][0], first)
        result = torch.where(first >= 0, first, first * slope)
    elif spatial_dimensions(node):
        result = _spatial(node, name, first)
    elif name in IDENTITIES:
        result = first
    elif name in MOVES:
        return move_elements(node, lambda n: found[n][0], known) or blank
    elif name in REDUCTIONS and len(node.all_input_nodes) == 1:
        result = _reduction(node, name, first)
    elif is_pointwise(node) or name in ("max", "min"):
        result = _pointwise(node, name, found)
    else:
        return blank
    return (compress(result.expand(blank[0].shape)), *blank[1:])


def _layer(node: fx.Node, source: Tensor, found: ConstantValues) -> Tensor:
    a, known = bind(node), found.known
    (shape,) = shapes_of(node)
    if a["weight"] not in known or (a["bias"] is not None and a["bias"] not in known):
        return torch.tensor(VARYING)
    weight = known[a["weight"]]
    layout = layout_of(node)
    channels = channel_values(source, layout.dim)
    varies = channels.isnan() | ((channels != 0) & layout.border)
    constant = layout.effect(weight, torch.where(varies, 0.0, channels))
    if a["bias"] is not None:
        constant = constant + known[a["bias"]].double()
    reads_varying = (found.nonzero(a["weight"], layout) & varies).any(1)
    return along_dimension(torch.where(reads_varying, VARYING, constant), layout.dim, shape)


def _batch_norm(node: fx.Node, source: Tensor, known: Mapping[fx.Node, Tensor]) -> Tensor:
    a = bind(node)
    tensors = [a["weight"], a["bias"], a["running_mean"], a["running_var"]]
    if not all(t is None or t in known for t in tensors):
        return torch.tensor(VARYING)
    weight, bias, mean, variance = (
        None if t is None else _beside(known[t].double(), source) for t in tensors
    )
    if mean is None or variance is None or a.get("training"):
        return torch.tensor(VARYING)
    scale = torch.rsqrt(variance + a["eps"])
    scale = scale if weight is None else scale * weight
    shift = torch.tensor(0.0) if bias is None else bias
    # A channel with scale 0 is constant whatever it reads.
    return torch.where(scale == 0, shift, (source - mean) * scale + shift)


def _instance_norm(node: fx.Node, source: Tensor, known: Mapping[fx.Node, Tensor]) -> Tensor:
    """Like a batch norm with statistics of its own; else a channel of zeros is its shift."""
    a = bind(node)
    if not a["use_input_stats"]:
        return _batch_norm(node, source, known)
    if not all(a[key] is None or a[key] in known for key in ("weight", "bias")):
        return torch.tensor(VARYING)
    constant = source == 0
    if a["weight"] is not None:
        constant = constant | (_beside(known[a["weight"]], source) == 0)
    shift = torch.tensor(0.0, dtype=torch.float64)
    if a["bias"] is not None:
        shift = _beside(known[a["bias"]].double(), source)
    return torch.where(constant, shift, VARYING)


def _mixing_norm(
    node: fx.Node, source: Tensor, known: Mapping[fx.Node, Tensor], equal: bool
) -> Tensor:
    """Layer norm and group norm: a channel with scale 0 is its shift, so is a group of zeros."""
    a = bind(node)
    if not all(a[key] is None or a[key] in known for key in ("weight", "bias")):
        return torch.tensor(VARYING)
    (shape, *_) = shapes_of(node)
    groups = int(a.get("num_groups", a.get("group", 0)) or 0)
    dim = 1 if groups else -1
    if not groups and len(a["normalized_shape"]) > 1:
        return torch.tensor(VARYING)
    constant = torch.zeros(shape[dim], dtype=torch.bool)
    if groups:
        zeros = channel_values(source, dim) == 0
        constant |= zeros.view(groups, -1).all(1).repeat_interleave(shape[dim] // groups)
    if a["weight"] is not None:
        constant |= known[a["weight"]] == 0
    shift = torch.zeros(shape[dim], dtype=torch.float64)
    if a["bias"] is not None:
        shift = known[a["bias"]].double()
    value = torch.where(constant, shift, VARYING)
    if not equal:
        value = torch.where(channel_values(source, dim) == 0, 0.0, value)
    return along_dimension(value, dim, shape)


def _spatial(node: fx.Node, name: str, source: Tensor) -> Tensor:
    dims = range(source.dim() - spatial_dimensions(node), source.dim())
    first = _uniform(source, dims)
    if name.startswith("avg_pool"):
        a = bind(node)
        if a.get("divisor_override") or (any(a["padding"]) and a["count_include_pad"]):
            first = torch.where(first == 0, first, VARYING)
    return first


def _reduction(node: fx.Node, name: str, source: Tensor) -> Tensor:
    dims = reduced_dimensions(node, source.dim())
    first = _uniform(source, dims)
    if name == "sum" or (name in _NORMS and _order(node) > 0):
        first = torch.where(first == 0, first, VARYING)
    elif name not in AVERAGES:
        return torch.tensor(VARYING)
    return first if first.dim() == len(shapes_of(node)[0]) else first.squeeze(dims)


_NORMS = {"norm": "p", "linalg_vector_norm": "ord"}


def _order(node: fx.Node) -> float:
    order = bind(node)[_NORMS[operator_name(node)]]
    return 2.0 if order is None else float(order)


def _pointwise(node: fx.Node, name: str, found: ConstantValues) -> Tensor:
    operands = node.all_input_nodes
    small = dict(zip(operands, broadcast_small(*(found[n][0] for n in operands)), strict=True))
    arguments = bind(node)
    for key, value in arguments.items():
        carried = {n: torch.nan_to_num(v) for n, v in small.items()}
        if key in ("condition", "mask"):
            carried = {n: v.bool() for n, v in carried.items()}
        arguments[key] = fx.node.map_arg(value, carried.__getitem__)
    assert callable(node.target)
    try:
        result = node.target(**arguments).double()
    except RuntimeError:  # an operator without a double precision form
        return torch.tensor(VARYING)
    varies = torch.stack([v.isnan() for v in small.values()]).any(0)
    if name == "mul":
        varies &= ~torch.stack([v == 0 for v in small.values()]).any(0)
    elif name == "div" and (numerator := bind(node)["self"]) in small:
        zero = small[numerator] == 0
        varies, result = varies & ~zero, torch.where(zero, 0.0, result)
    return torch.where(varies, VARYING, result)


def _uniform(source: Tensor, dims: Collection[int]) -> Tensor:
    """The value along ``dims``, which stay with size 1, where there is only one."""
    first = collapse(source, dims)
    if not set(varying_dimensions(source)) & set(dims):
        return first
    same = (source == first).all(dim=tuple(dims), keepdim=True)
    return torch.where(same, first, VARYING)


def _beside(vector: Tensor, source: Tensor) -> Tensor:
    """A tensor with one entry per channel, or one for all, shaped to act on ``source``."""
    dim = min(1, source.dim() - 1)
    return vector.reshape([-1 if d == dim else 1 for d in range(source.dim())])


def _finite(value: Tensor) -> Tensor:
    small = shrink(value)
    if not bool(small.isinf().any()):
        return value
    return torch.where(small.isinf(), VARYING, small).expand(value.shape)


def _varying(node: fx.Node) -> tuple[Tensor, ...]:
    return tuple(_ONE_VARYING.expand(shape) for shape in shapes_of(node))
