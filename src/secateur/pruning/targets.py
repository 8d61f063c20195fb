"""Targets: a size in place of a rate; all rates are scaled together until the network has it.

A target is the value that a quantity has in the end: ``sparsity`` is the share of the network's
parameters that is zero; ``params``, ``macs`` and ``latency`` are what the slim network has of the
dense one, as a share in (0, 1) or as an amount (``params=50000``, ``macs=40M``, ``latency=8ms``).
Filters are removed one by one in the order in which they would be when all rates rise by a common
factor, and the number of them that comes closest is found by bisection, without any training.
Latency is that of one forward on one thread of this machine; ``LatencyTarget`` finds it.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from secateur.cost.layer_latency import LatencyTable
from secateur.cost.parameters import count_nonzero, count_parameters
from secateur.errors import InputError
from secateur.filters import filters_of

QUANTITIES = ("sparsity", "params", "macs", "latency")


_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_UNITS = {"params": _PREFIXES, "macs": _PREFIXES, "latency": {"ms": 1.0, "us": 1e-3, "s": 1e3}}
_AMOUNT = re.compile(r"(?P<number>\d+\.?\d*(?:e[+-]?\d+)?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """The size that a pruned network shall have.

    Args:
        quantity: ``sparsity``, ``params``, ``macs`` or ``latency``.
        value: Share in (0, 1): zero parameters of all, or slim over dense. NaN for an amount whose
            share is not known before the dense network is.
        amount: Parameters, multiply-accumulates or milliseconds instead of a share.
    """

    quantity: str
    value: float
    amount: float | None = None

    @property
    def remaining(self) -> float:
        """Share of the dense network that shall remain, in (0, 1)."""
        return 1 - self.value if self.quantity == "sparsity" else self.value

    def as_share(self, dense: float) -> Target:
        """The same target as a share of what the dense network has.

        Args:
            dense: Parameters, multiply-accumulates or milliseconds of the dense network.

        Raises:
            InputError: If the dense network is that small already.
        """
        if self.amount is None:
            return self
        if self.amount >= dense:
            raise InputError(
                f"target.{self.quantity}={self} is no less than the {dense:,.6g} of the dense "
                "network, so there is nothing to prune: ask for less"
            )
        return Target(self.quantity, self.amount / dense)

    def __str__(self) -> str:
        """The value as one writes it on the command line."""
        if self.amount is None:
            return f"{self.value:g}"
        if self.quantity == "latency":
            return f"{self.amount:g}ms"
        for prefix in "gmk":
            scaled = self.amount / _PREFIXES[prefix]
            if scaled >= 1 and f"{scaled:g}" == f"{scaled:.12g}":
                return f"{scaled:g}{prefix.upper() if prefix != 'k' else prefix}"
        return f"{self.amount:g}"


def read_target(target: Mapping[str, float | str | None] | None) -> Target | None:
    """The target of a mapping with one entry; None for none.

    Args:
        target: Quantity to value: a share in (0, 1), or an amount such as ``50000``, ``"40M"`` or
            ``"8ms"``; entries that are None do not count.

    Raises:
        InputError: If it names something else or a value out of range.

    Example:
        >>> read_target({"macs": "40M"})
        Target(quantity='macs', value=nan, amount=40000000.0)
        >>> str(read_target({"params": 50000}))
        '50k'
    """
    given = {name: value for name, value in (target or {}).items() if value is not None}
    if not given:
        return None
    if len(given) > 1:
        raise InputError(
            f"target takes one quantity, got {' and '.join(given)}: set the others to null"
        )
    quantity, value = next(iter(given.items()))
    if quantity not in QUANTITIES:
        raise InputError(f"target has no {quantity!r}; choose one of {', '.join(QUANTITIES)}")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and 0 < float(value) < 1:
        return Target(quantity, float(value))
    amount = _read_amount(quantity, value)
    if amount is None:
        examples = {"params": "50000", "macs": "40M", "latency": "8ms"}
        other = f", or an amount such as {examples[quantity]}" if quantity in examples else ""
        raise InputError(
            f"target.{quantity} must be a share above 0 and below 1{other}, got {value!r}"
        )
    return Target(quantity, math.nan, amount)


def _read_amount(quantity: str, value: object) -> float | None:
    """Parameters, multiply-accumulates or milliseconds; None for what is no amount."""
    units = _UNITS.get(quantity)
    if units is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        # a bare number of milliseconds could as well be meant as seconds, so latency has a unit
        return (
            float(value) if value > 1 and math.isfinite(value) and quantity != "latency" else None
        )
    match = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match["unit"].lower() not in units:
        return None
    amount = float(match["number"]) * units[match["unit"].lower()]
    return amount if amount > (0 if quantity == "latency" else 1) else None


def solve(remaining: Callable[[int], float], most: int, target: Target) -> int:
    """How many filters or sets to remove, in their order, to come closest to a target.

    Args:
        remaining: What remains of the dense network without the first n, falling in n.
        most: How many may be removed.
        target: The target.

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
    """Make the error for a target that even the smallest network misses.

    Args:
        target: The target.
        remaining: Share of the dense network that remains when all that may be removed is.
        why: Text that follows that figure in the sentence.
    """
    reached = 1 - remaining if target.quantity == "sparsity" else remaining
    return InputError(
        f"target.{target.quantity}={target} cannot be reached: with every filter gone "
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
            if isinstance(module, _NormBase | nn.GroupNorm | nn.LayerNorm)
            and isinstance(module.weight, Tensor)
            and module.weight.ndim == 1
        }
        self._writers: dict[str, list[str]] = {norm: [] for norm in self._norms}
        for layer, norm in batchnorms.items():
            if norm in self._norms:
                self._writers[norm].append(layer)

    def __call__(self, keep: Mapping[str, Tensor]) -> float:
        """Zero parameters over all parameters.

        Args:
            keep: Per layer a mask (n_filters,), True = kept; a channel of a batch norm without
                a mask is removed when every layer that writes it loses that filter.
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
        table: Times of the network's layers; it is corrected once, in the first ``solve``.
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

        In the first call the smallest network is measured, and then the one that the table
        predicts to be on target, until a measured one is close. Each measurement corrects the
        table. Later calls, for other weights of the network, only read the table.

        Args:
            shapes: Shape of every weight that slimming leaves without the first n.
            measure: Slims the network without the first n, and measures the share of the dense
                time that it takes.
            most: How many may be removed.
            target: The target.

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
