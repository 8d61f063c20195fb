"""Tests of the allocation of rates to layers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from secateur.errors import InputError
from secateur.pruning.allocation import RateChoice, allocate_rates


def draw(seed: int, n_layers: int = 5, n_rates: int = 3) -> dict[str, list[RateChoice]]:
    generator = np.random.default_rng(seed)
    layers = {}
    for number in range(n_layers):
        rates = np.sort(generator.random(n_rates))
        size = generator.random(2) / n_layers
        layers[f"layer{number}"] = [
            RateChoice(float(r), float(generator.random() * r**2), tuple(r * size)) for r in rates
        ]
    return layers


def totals(
    layers: dict[str, list[RateChoice]], rates: dict[str, float]
) -> tuple[float, np.ndarray]:
    chosen = [c for name, rows in layers.items() for c in rows if c.rate == rates[name]]
    removed = np.sum([c.removed for c in chosen], axis=0) if chosen else np.zeros(2)
    return sum(c.harm for c in chosen), removed


@pytest.mark.parametrize("seed", range(20))
def test_two_wants_are_met_at_little_more_than_the_least_harm(seed: int) -> None:
    layers = draw(seed)
    full = np.sum([rows[-1].removed for rows in layers.values()], axis=0)
    wanted = 0.5 * full
    rates = allocate_rates(layers, list(wanted))
    harm, removed = totals(layers, rates)
    assert (removed >= wanted).all()
    every = product(*([None, *rows] for rows in layers.values()))
    least = min(
        sum(c.harm for c in choice if c)
        for choice in every
        if (sum((np.array(c.removed) for c in choice if c), np.zeros(2)) >= wanted).all()
    )
    # Prices find the convex hull of the choices; between its corners they remove a little more.
    assert least - 1e-9 <= harm <= least + max(c.harm for rows in layers.values() for c in rows)


def test_layers_that_bear_pruning_go_first() -> None:
    layers = {
        "dear": [RateChoice(0.5, 1.0, (0.25,)), RateChoice(0.9, 2.0, (0.45,))],
        "dead": [RateChoice(0.5, 0.0, (0.25,)), RateChoice(0.9, 0.0, (0.45,))],
    }
    assert allocate_rates(layers, [0.4]) == {"dear": 0.0, "dead": 0.9}


def test_a_target_out_of_reach_is_refused_with_what_is_reached() -> None:
    with pytest.raises(InputError, match=r"remove 45\.0% of what the target wants 60\.0%"):
        allocate_rates({"only": [RateChoice(0.9, 0.1, (0.45,))]}, [0.6])
