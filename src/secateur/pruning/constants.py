"""Tensors of a forward that do not depend on its inputs, computed once."""

from __future__ import annotations

import torch
from torch import Tensor, fx

from secateur.pruning.trace import Trace


def constants(traced: Trace) -> dict[fx.Node, Tensor]:
    """Actual value of every node that depends on parameters, buffers and literals only.

    Args:
        traced: The operator graph.

    Returns:
        Node -> its value in the network's own precision; nodes that yield no single tensor and
        random ones are absent.
    """
    known: dict[fx.Node, Tensor] = dict(traced.constants)
    known |= {node: traced.tensors[name].detach() for node, name in traced.names.items()}
    with torch.no_grad():
        for node in traced.nodes:
            target = node.target
            if not isinstance(target, torch._ops.OpOverload):
                continue
            if not isinstance(node.meta.get("val"), Tensor):
                continue
            if torch.Tag.nondeterministic_seeded in target.tags:
                continue
            if all(operand in known for operand in node.all_input_nodes):
                args = fx.node.map_arg(node.args, known.__getitem__)
                kwargs = fx.node.map_arg(node.kwargs, known.__getitem__)
                known[node] = target(*args, **kwargs)
    return known
