"""Allocation: how much every layer loses, so that a network of a size is harmed the least.

Each layer has a few rates to choose from, and of each is known what it harms (measured with that
layer alone pruned) and what it removes. Harms and removals are taken as sums over layers, and the
choice of least harm is found by Lagrangian relaxation: with a price on every removed quantity each
layer chooses for itself, and the prices are the lowest that meet what is wanted (Shoham and Gersho,
"Efficient bit allocation for an arbitrary set of quantizers", IEEE TASSP 1988, section III).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from secateur.errors import InputError

_PRICES = 96  # per quantity, evenly in the logarithm
_DECADES = 8.0


@dataclass(frozen=True, slots=True)
class RateChoice:
    """One rate that a layer could be pruned at.

    Args:
        rate: Fraction of its filters, in [0, 1).
        harm: How much worse the network is for it, at least 0; in any unit.
        removed: What goes with them of each quantity, as shares of the dense network.
    """

    rate: float
    harm: float
    removed: tuple[float, ...]


def allocate_rates(
    choices: Mapping[str, Sequence[RateChoice]], wanted: Sequence[float]
) -> dict[str, float]:
    """Choose a rate for every layer, so that the sum of harms is least.

    Args:
        choices: Rates of each layer beside 0, which harms and removes nothing.
        wanted: Share of each quantity that is to be removed in all, in (0, 1).

    Returns:
        Rate per layer, 0 for those that stay as they are.

    Raises:
        InputError: If all layers at their highest rates do not remove as much.

    Examples:
        >>> cheap = [RateChoice(0.5, 0.1, (0.2,)), RateChoice(0.9, 0.3, (0.36,))]
        >>> dear = [RateChoice(0.5, 1.0, (0.2,)), RateChoice(0.9, 3.0, (0.36,))]
        >>> allocate_rates({"first": dear, "last": cheap}, [0.3])
        {'first': 0.0, 'last': 0.9}
    """
    names = list(choices)
    most = 1 + max((len(rows) for rows in choices.values()), default=0)
    nothing = RateChoice(0.0, 0.0, (0.0,) * len(wanted))
    # Rows are filled up with the choice of no rate, so that all layers have as many.
    table = [[nothing, *choices[n], *[nothing] * (most - 1 - len(choices[n]))] for n in names]
    harms = np.array([[max(choice.harm, 0.0) for choice in row] for row in table])
    removed = np.array([[choice.removed for choice in row] for row in table])
    need = np.asarray(wanted, np.float64)
    short = need - removed.max(axis=1).sum(axis=0)
    if (short > 0).any():
        which = int(short.argmax())
        raise InputError(
            f"all layers at their highest rates remove {need[which] - short[which]:.1%} of what "
            f"the target wants {need[which]:.1%} of: add higher rates to try_rates, or ask for less"
        )
    best = _cheapest(harms, removed, need)
    return {name: table[row][best[row]].rate for row, name in enumerate(names)}


def _cheapest(
    harms: NDArray[np.float64], removed: NDArray[np.float64], need: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Column of each row: the least sum of harms over all prices that meet the need."""
    rows = np.arange(len(harms))
    # A price at which the last of a quantity is worth the greatest harm, and less from there.
    top = 10 * harms.max() / np.maximum(removed.reshape(-1, len(need)).max(axis=0), 1e-12) + 1e-9
    top *= max(1.0, float((1 / np.maximum(need, 1e-6)).max()))
    scale = np.concatenate([[0.0], np.logspace(-_DECADES, 0, _PRICES)])
    best: NDArray[np.int64] = removed.sum(axis=2).argmax(axis=1)
    least = np.inf
    for factors in product(scale, repeat=len(need)):
        columns = (harms - removed @ (top * np.array(factors))).argmin(axis=1)
        met = (removed[rows, columns].sum(axis=0) >= need).all()
        if met and (harm := float(harms[rows, columns].sum())) < least:
            best, least = columns, harm
    return best
