"""Blocks of a graph that stand in a context, such as autocast, put in place of their calls."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

# The exporter wraps what runs under these contexts into a graph of its own.
_WRAPPERS = frozenset({"wrap_with_autocast", "wrap_with_set_grad_enabled"})


def inline_subgraphs(graph: fx.GraphModule) -> None:
    """Put the operators of wrapped blocks where the blocks are called, blocks in blocks too.

    Types that autocast would lower are left as they are: which channels meet does not depend on
    them.

    Args:
        graph: Changed in place.
    """
    inlined = True
    while inlined:
        inlined = False
        for node in list(graph.graph.nodes):
            if _name(node) in _WRAPPERS:
                _inline(graph, node)
                inlined = True


def _name(node: fx.Node) -> str:
    target = node.target
    return str(target) if isinstance(target, torch._ops.HigherOrderOperator) else ""


def _inline(graph: fx.GraphModule, call: fx.Node) -> None:
    """Replace one call by what it calls."""
    position = next(
        i for i, a in enumerate(call.args) if isinstance(a, fx.Node) and a.op == "get_attr"
    )
    body_node = call.args[position]
    assert isinstance(body_node, fx.Node)
    body = graph.get_submodule(str(body_node.target))
    assert isinstance(body, fx.GraphModule)
    placeholders = [node for node in body.graph.nodes if node.op == "placeholder"]
    values = dict(zip(placeholders, call.args[position + 1 :], strict=False))
    for node in body.graph.nodes:
        if node.op == "get_attr":
            name = f"{body_node.target}_{node.target}"
            setattr(graph, name, getattr(body, str(node.target)))
            with graph.graph.inserting_before(call):
                values[node] = graph.graph.get_attr(name)
    with graph.graph.inserting_before(call):
        results: Any = graph.graph.graph_copy(body.graph, values)
    if isinstance(results, fx.Node):
        call.replace_all_uses_with(results)
    else:  # every user picks one of the results
        for user in list(call.users):
            user.replace_all_uses_with(results[user.args[1]])
            graph.graph.erase_node(user)
    graph.graph.erase_node(call)
    if not body_node.users:
        graph.graph.erase_node(body_node)
