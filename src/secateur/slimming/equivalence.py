"""Equivalence: whether two networks compute the same. It is the proof behind slimming."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from secateur.cost.macs import MacCounter
from secateur.errors import InputError
from secateur.evaluation_mode import evaluation_mode
from secateur.network_copy import copy_network
from secateur.slimming.surgery import Cut

TOLERANCE = 1e-4  # relative to the largest output

_HALVES = (torch.float16, torch.bfloat16)

_LARGER = 32  # pixels that the second size has more, in both directions

Arguments = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """One forward to compare networks on.

    Args:
        arguments: Positional arguments of the forward.
        expected: All tensors that the network returns for them.
    """

    arguments: Arguments
    expected: list[Tensor]


@dataclass(frozen=True, slots=True)
class Difference:
    """How far the outputs of two networks are apart.

    Args:
        absolute: Largest difference.
        relative: Largest difference of an output tensor over the largest element of that tensor.
    """

    absolute: float = 0.0
    relative: float = 0.0


def largest_difference(
    model: nn.Module, other: nn.Module, inputs: Iterable[Sequence[Any]]
) -> float:
    """Largest absolute difference between the outputs of two networks.

    Args:
        model: One network.
        other: Another one that should give the same outputs.
        inputs: Positional arguments of the forward, one sequence per call.
    """
    return compare(other, (Probe(tuple(args), outputs(model, args)) for args in inputs)).absolute


def compare(
    model: nn.Module, probes: Iterable[Probe], counter: MacCounter | None = None
) -> Difference:
    """Run a network and say how far it is from what is expected.

    Args:
        model: Any network.
        probes: Arguments and expected outputs.
        counter: Counts what the first forward costs.

    Raises:
        RuntimeError: If the forward fails or outputs have other shapes.
    """
    absolute = relative = 0.0
    for number, probe in enumerate(probes):
        returned = outputs(model, probe.arguments, counter if number == 0 else None)
        for found, expected in zip(returned, probe.expected, strict=True):
            gap, share = _gap(expected, found)
            absolute, relative = max(absolute, gap), max(relative, share)
    return Difference(absolute, relative)


def compare_in_double(
    model: nn.Module, other: nn.Module, inputs: Iterable[Sequence[Any]]
) -> Difference:
    """Compare two networks in double precision, where rounding hides and feigns nothing.

    A network of large weights that nearly cancel each other, as one that barely trained, is not
    even equal to itself with another order of summation, to the fourth digit of single precision.

    Args:
        model: One network, in single precision.
        other: Another one that should give the same outputs.
        inputs: Positional arguments of the forward, one sequence per call.

    Returns:
        How far they are apart; infinitely far if they do not run in double precision.
    """
    try:
        model, other = copy_network(model).double(), copy_network(other).double()
        wide = [tree_map(_in_double, tuple(arguments)) for arguments in inputs]
        return compare(other, (Probe(arguments, outputs(model, arguments)) for arguments in wide))
    except Exception:  # the forward of a stranger's network may insist on single precision
        return Difference(math.inf, math.inf)


def make_probes(
    model: nn.Module, arguments: Arguments, counter: MacCounter | None = None
) -> list[Probe]:
    """Make two probes: the example, and noise of a larger size if the network takes one.

    Args:
        model: Network that gives the expected outputs.
        arguments: Example arguments of its forward.
        counter: Counts what the forward of the example costs.

    Raises:
        InputError: If it computes NaN for the example, which is equal to nothing.
    """
    generator = torch.Generator().manual_seed(0)

    def noise(value: object, extra: int) -> object:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        size = [n + extra if d > 1 else n for d, n in enumerate(value.shape)]
        # As strong as the example: batch norms know such inputs, and outputs keep their size.
        scale = float(value.std()) if value.numel() > 1 else 0.0
        return torch.randn(size, generator=generator).to(value) * (scale or 1.0)

    found = [Probe(arguments, outputs(model, arguments, counter))]
    if any(bool(expected.isnan().any()) for expected in found[0].expected):
        raise InputError(
            f"{type(model).__name__} computes NaN for the example inputs, so nothing can be proved "
            "of it: give other inputs, or take an earlier checkpoint"
        )
    larger = tree_map(lambda value: noise(value, _LARGER), arguments)
    try:
        found.append(Probe(larger, outputs(model, larger)))
    except Exception:  # whatever the forward of a network of the user raises
        same = tree_map(lambda value: noise(value, 0), arguments)
        found.append(Probe(same, outputs(model, same)))
    return found


def in_full_precision(model: nn.Module) -> nn.Module:
    """A copy in single precision of a network in half; any other network itself.

    Half precision is too coarse to tell a wrong network from another order of summation.
    """
    halves = any(parameter.dtype in _HALVES for parameter in model.parameters())
    return copy_network(model).float() if halves else model


def arguments_in_full_precision(arguments: Arguments) -> Arguments:
    """Convert tensors of half precision to single; everything else stays as it is."""

    def widen(value: object) -> object:
        half = isinstance(value, Tensor) and value.dtype in _HALVES
        return value.float() if half else value  # type: ignore[attr-defined]

    return tuple(tree_map(widen, arguments))


def _in_double(value: object) -> object:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def outputs(
    model: nn.Module, arguments: Sequence[Any], counter: MacCounter | None = None
) -> list[Tensor]:
    """All tensors that a forward in evaluation mode returns; ``counter`` counts what it costs."""
    with evaluation_mode(model), torch.no_grad(), counter or nullcontext():
        return [leaf for leaf in tree_leaves(model(*arguments)) if isinstance(leaf, Tensor)]


def first_difference(model: nn.Module, slimmed: nn.Module, cut: Cut, arguments: Arguments) -> str:
    """Name of the first layer whose kept channels differ between a network and its slim form.

    Args:
        model: The network before.
        slimmed: The network after.
        cut: Indices that stayed.
        arguments: Arguments of one forward.
    """
    before, after = _layer_outputs(model, arguments), _layer_outputs(slimmed, arguments)
    for name, wide in before.items():
        narrow = after.get(name)
        rows = cut.kept.get((f"{name}.weight", 0))
        if narrow is None or rows is None or wide.dim() < 2:
            continue
        dim = 1 if wide.shape[1] != narrow.shape[1] or len(rows) == narrow.shape[1] else -1
        if wide.shape[dim] > int(rows.max()):
            wide = wide.index_select(dim, rows.to(wide.device))
        if wide.shape != narrow.shape or _gap(wide, narrow)[1] > TOLERANCE:
            return name
    return "the outputs"


def _layer_outputs(model: nn.Module, arguments: Arguments) -> dict[str, Tensor]:
    """What each layer without children returned the first time."""
    found: dict[str, Tensor] = {}
    handles = []
    for name, module in model.named_modules():
        if not list(module.children()):

            def keep(_: nn.Module, __: object, output: object, name: str = name) -> None:
                if isinstance(output, Tensor):
                    found.setdefault(name, output)

            handles.append(module.register_forward_hook(keep))
    try:
        outputs(model, arguments)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _gap(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Absolute difference and difference relative to the largest element."""
    if a.shape != b.shape:
        raise RuntimeError(f"outputs have shapes {tuple(a.shape)} and {tuple(b.shape)}")
    if not a.numel():
        return 0.0, 0.0
    a, b = a.double(), b.double()
    same = (a == b) | (a.isnan() & b.isnan())
    gap = float(torch.where(same, 0.0, (a - b).abs()).nan_to_num(nan=float("inf")).max())
    scale = float(a.nan_to_num(0.0, 0.0, 0.0).abs().max())
    return gap, gap / max(scale, torch.finfo(torch.float32).tiny)
