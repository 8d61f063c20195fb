"""Take out whole modules whose results reach no output."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress

from torch import fx, nn

from secateur.pruning.equality import Difference, Probe, compare, in_full_precision
from secateur.pruning.trace import Trace


def drop_unused_modules(
    model: nn.Module, traced: Trace, probes: Sequence[Probe]
) -> tuple[nn.Module, tuple[str, ...]]:
    """Replace modules whose parameters reach no output by ``nn.Identity``, where that is exact.

    The forward may still call them, so every replacement is tried: it stays only if all outputs
    are the same to the last bit. Where a whole module cannot go, its children are tried.

    Args:
        model: Any network; it is not changed.
        traced: Its operator graph.
        probes: Forwards to compare on.

    Returns:
        A copy without them, or the model itself if there are none; names of what went.
    """
    unused = _unused_parameters(model, traced)
    if not unused:
        return model, ()
    reduced = copy.deepcopy(model)
    dropped: list[str] = []
    queue = [name for name, _ in reduced.named_children()]
    while queue:
        name = queue.pop(0)
        module = reduced.get_submodule(name)
        own = {n for n, _ in module.named_parameters(prefix=name)}
        if not own & unused:
            continue
        if own <= unused and _try_without(reduced, name, probes):
            dropped.append(name)
        else:
            queue += [f"{name}.{child}" for child, _ in module.named_children()]
    return (reduced, tuple(dropped)) if dropped else (model, ())


def _unused_parameters(model: nn.Module, traced: Trace) -> set[str]:
    """Names, aliases included, of parameters that reach no output."""
    reached: set[fx.Node] = set()
    stack = [traced.output]
    while stack:
        node = stack.pop()
        if node not in reached:
            reached.add(node)
            stack += node.all_input_nodes
    used = {traced.names[node] for node in reached if node in traced.names}
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    everything = model.named_parameters(remove_duplicate=False)
    return {name for name, parameter in everything if first[id(parameter)] not in used}


def _try_without(model: nn.Module, name: str, probes: Sequence[Probe]) -> bool:
    """Replace one module by an identity; put it back if the network then fails or differs."""
    owner_name, _, attribute = name.rpartition(".")
    owner = model.get_submodule(owner_name)
    module = owner._modules[attribute]
    owner._modules[attribute] = nn.Identity()
    with suppress(Exception):  # whatever the forward raises, it needs the module
        if compare(in_full_precision(model), probes) == Difference():
            return True
    owner._modules[attribute] = module
    return False
