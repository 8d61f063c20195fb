"""Holding out training pictures."""

from __future__ import annotations

import pytest

from secateur.data.face_dataset import holdout_indices
from secateur.errors import InputError


def test_parts_are_disjoint_complete_and_reproducible() -> None:
    kept, held = holdout_indices(100, 0.15, seed=1)
    assert (len(kept), len(held)) == (85, 15)
    assert sorted(kept + held) == list(range(100))
    assert (kept, held) == holdout_indices(100, 0.15, seed=1)
    assert held != holdout_indices(100, 0.15, seed=2)[1]


def test_nothing_held_out() -> None:
    assert holdout_indices(5, 0.0, seed=0) == ([0, 1, 2, 3, 4], [])


@pytest.mark.parametrize(("count", "fraction"), [(10, 1.0), (10, -0.1), (3, 0.1), (2, 0.9)])
def test_bad_fractions(count: int, fraction: float) -> None:
    with pytest.raises(InputError, match="holdout"):
        holdout_indices(count, fraction, seed=0)
