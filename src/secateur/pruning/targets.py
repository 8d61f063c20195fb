"""Targets: a size instead of a rate; all rates are scaled together until the network has it.

A target says how large the network shall be: ``sparsity`` is the share of its parameters that is
zero, ``params``, ``macs`` and ``latency`` are what the slim network shall have of the dense one.
Filters go one by one in the order in which they would when all rates rise by a common factor, and
the number of them that comes closest is found by bisection, without any training. Latency is that
of one forward on one thread of this machine; how it is found is in ``latency_target``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from secateur.cost.layer_latency import LatencyTable
from secateur.cost.parameters import count_nonzero, count_parameters
from secateur.errors import InputError
from secateur.filters import filters_of

QUANTITIES = ("sparsity", "params", "macs", "latency")


@dataclass(frozen=True, slots=True)
class Target:
    """What a network shall be once it is pruned.

    Args:
        quantity: ``sparsity``, ``params``, ``macs`` or ``latency``.
        value: Share in (0, 1): zero parameters of all, or slim over dense.
    """

    quantity: str
    value: float

    @property
    def remaining(self) -> float:
        """What shall remain of the dense network, in (0, 1)."""
        return 1 - self.value if self.quantity == "sparsity" else self.value


def read_target(target: Mapping[str, float] | None) -> Target | None:
    """The target of a mapping with one entry; None for none.

    Raises:
        InputError: If it names something else or a value out of range.
    """
    given = {name: value for name, value in (target or {}).items() if value is not None}
    if not given:
        return None
    if len(given) > 1:
        raise InputError(f"target takes one of {', '.join(QUANTITIES)}, got {', '.join(given)}")
    quantity, value = next(iter(given.items()))
    if quantity not in QUANTITIES:
        raise InputError(f"target has no {quantity!r}; choose one of {', '.join(QUANTITIES)}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise InputError(f"target.{quantity} must be above 0 and below 1, got {value!r}")
    return Target(quantity, float(value))


def solve(remaining: Callable[[int], float], most: int, target: Target) -> int:
    """How many filters or sets to remove, in their order, to come closest to a target.

    Args:
        remaining: What remains of the dense network without the first n, falling in n.
        most: How many may go.
        target: What is wanted.

    Returns:
        A number from 0 to ``most``.

    Raises:
        InputError: If even ``most`` are not enough.
    """
    wanted = target.remaining
    low, high = 0, most
    at = {0: remaining(0), most: remaining(most)}
    if at[most] > wanted:
        raise unreachable(target, at[most])
    while high - low > 1:
        middle = (low + high) // 2
        at[middle] = remaining(middle)
        low, high = (middle, high) if at[middle] > wanted else (low, middle)
    return min((low, high), key=lambda n: abs(at[n] - wanted))


def unreachable(target: Target, remaining: float, why: str = "") -> InputError:
    """What to say when even the smallest network is too large.

    Args:
        target: What is wanted.
        remaining: What remains of the dense network when all has gone that may go.
        why: What follows that figure in the sentence.
    """
    reached = 1 - remaining if target.quantity == "sparsity" else remaining
    return InputError(
        f"target.{target.quantity}={target.value:g} cannot be reached: with every filter gone "
        f"that may go it is {reached:.3f}{why}; lower min_keep, exclude fewer layers, raise rates "
        "that are 0, or take another target"
    )


class NominalSparsity:
    """Sparsity under masks, from counts per filter: no weight is touched.

    Args:
        model: Network that would be masked; its present weights count.
        layers: Layers with masks, by name.
        batchnorms: Name of the batch norm that is masked with a layer, by name of the layer.
    """

    def __init__(
        self, model: nn.Module, layers: Mapping[str, nn.Module], batchnorms: Mapping[str, str]
    ) -> None:
        self.parameters = count_parameters(model)
        self.zeros = self.parameters - count_nonzero(model)
        self._counts = {name: nonzero_per_filter(layer) for name, layer in layers.items()}
        self._norms = {
            name: nonzero_per_filter(module)
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm) and isinstance(module.weight, Tensor)
        }
        self._writers: dict[str, list[str]] = {norm: [] for norm in self._norms}
        for layer, norm in batchnorms.items():
            if norm in self._norms:
                self._writers[norm].append(layer)

    def __call__(self, keep: Mapping[str, Tensor]) -> float:
        """Zero parameters over all parameters.

        Args:
            keep: Per layer a mask (n_filters,), True = kept; a channel of a batch norm without
                a mask goes when every layer that writes it loses that filter.
        """
        zeros = self.zeros
        for name, counts in self._counts.items():
            if name in keep:
                zeros += int(counts[~keep[name].cpu()].sum())
        for norm, writers in self._writers.items():
            gone = None
            if norm in keep:
                gone = ~keep[norm].cpu()
            elif writers and all(layer in keep for layer in writers):
                gone = torch.stack([~keep[layer].cpu() for layer in writers]).all(0)
            if gone is not None:
                zeros += int(self._norms[norm][gone].sum())
        return zeros / max(self.parameters, 1)


def nonzero_per_filter(module: nn.Module) -> Tensor:
    """Parameters of each filter or batch-norm channel that are not zero, (n_filters,)."""
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    rows = filters_of(module) if weight.ndim > 1 else weight[:, None]
    counts = (rows != 0).sum(1)
    return (counts + (bias != 0) if isinstance(bias, Tensor) else counts).cpu()


_CORRECTIONS = 3

_CLOSE = 0.01  # of the dense time; two measurements of one network may differ by as much

Shapes = Mapping[str, tuple[int, ...]]


class LatencyTarget:
    """Finds how much to remove for a share of the dense time.

    Args:
        table: What is known of the network; it is corrected once, in the first ``solve``.
    """

    def __init__(self, table: LatencyTable) -> None:
        self.table = table
        self._is_corrected = False

    def solve(
        self,
        shapes: Callable[[int], Shapes],
        measure: Callable[[int], float],
        most: int,
        target: Target,
    ) -> int:
        """How many filters or sets to remove to come closest to a target.

        The first time the network without all that may go is measured, and then the one that the
        table calls right, until one comes out close. Later calls, for other weights of the
        network, take the table as it is by then.

        Args:
            shapes: Shape of every weight that slimming leaves without the first n.
            measure: Slims the network without the first n, and measures the share of the dense
                time that it takes.
            most: How many may go.
            target: What is wanted.

        Raises:
            InputError: If even ``most`` are not enough.
        """
        shapes = functools.cache(shapes)

        def remaining(number: int) -> float:
            return self.table.milliseconds(shapes(number)) / self.table.dense_ms

        def correct(number: int) -> float:
            share = measure(number)
            self.table = self.table.with_network(shapes(number), share * self.table.dense_ms)
            return share

        if self._is_corrected:
            return solve(remaining, most, target)
        if (smallest := correct(most)) > target.value:
            _, written = self.table.within(shapes(most))
            beyond = float(self.table.beyond_ms(written)) / self.table.dense_ms
            why = (
                f", {beyond:.3f} of it outside of layers, and calling operators takes time however "
                "few channels they have"
            )
            raise unreachable(target, smallest, why)
        self._is_corrected = True
        number = solve(remaining, most, target)
        for _ in range(_CORRECTIONS):
            if abs(correct(number) - target.value) <= _CLOSE:
                break
            number = solve(remaining, most, target)
        return number
