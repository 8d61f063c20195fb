"""Take out whole modules that no output depends on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from secateur.pruning.analysis import Analysis
from secateur.pruning.equality import outputs


def drop_dead_modules(
    model: nn.Module, slimmed: nn.Module, analysis: Analysis, inputs: Sequence[Sequence[Any]]
) -> tuple[str, ...]:
    """Replace modules whose parameters all are dead by ``nn.Identity``, where that is exact.

    The forward may still call them, so every replacement is tried: it stays only if the outputs
    do not change. Where the largest dead module cannot go, its children are tried.

    Args:
        model: The network before.
        slimmed: Its slim form, changed in place.
        analysis: What is dead.
        inputs: Arguments of the forwards to compare on.

    Returns:
        Names of the modules that went.
    """
    dead = _dead_parameters(model, analysis)
    expected = [outputs(slimmed, arguments) for arguments in inputs]
    dropped: list[str] = []
    queue = [name for name, _ in slimmed.named_children()]
    while queue:
        name = queue.pop(0)
        module = slimmed.get_submodule(name)
        own = dict(module.named_parameters(prefix=name))
        if not any(n in dead for n in own):
            continue
        # A lone number, such as the slope of an activation, has no channel to tell.
        whole = all(n in dead or tensor.numel() == 1 for n, tensor in own.items())
        if whole and _try_without(slimmed, name, inputs, expected):
            dropped.append(name)
        else:
            queue += [f"{name}.{child}" for child, _ in module.named_children()]
    return tuple(dropped)


def _dead_parameters(model: nn.Module, analysis: Analysis) -> set[str]:
    """Names, aliases included, of parameters that no output depends on."""
    used = {name for node, name in analysis.traced.names.items() if node.users}
    dead = {
        name
        for (name, dim), members in analysis.classes.slices.items()
        if dim == 0 and not bool(analysis.live[members].any())
    }
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        alias
        for alias, parameter in model.named_parameters(remove_duplicate=False)
        if (name := names[id(parameter)]) in dead or name not in used
    }


def _try_without(
    slimmed: nn.Module,
    name: str,
    inputs: Sequence[Sequence[Any]],
    expected: Sequence[Sequence[Tensor]],
) -> bool:
    """Replace one module by an identity; put it back if the network then fails or differs."""
    owner_name, _, attribute = name.rpartition(".")
    owner = slimmed.get_submodule(owner_name)
    module = owner._modules[attribute]
    owner._modules[attribute] = nn.Identity()
    with suppress(Exception):  # whatever the forward raises, it needs the module
        found = [outputs(slimmed, arguments) for arguments in inputs]
        # What nothing reads changes nothing, not even a rounding.
        if all(_equal(a, b) for a, b in zip(found, expected, strict=True)):
            return True
    owner._modules[attribute] = module
    return False


def _equal(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return len(a) == len(b) and all(
        x.shape == y.shape and bool(((x == y) | (x != x)).all()) for x, y in zip(a, b, strict=True)
    )
