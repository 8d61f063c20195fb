"""A share of the training pictures that is kept from training."""

from __future__ import annotations

import numpy as np

from secateur.errors import InputError


def holdout_indices(count: int, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Split 0..count-1 at random, the same way for the same seed.

    Args:
        count: Number of pictures.
        fraction: Share that is held out, 0..1; rounded to whole pictures.
        seed: Of the split.

    Returns:
        Rising indices to train on, and rising indices held out.

    Raises:
        InputError: If the fraction leaves nothing to train on or holds out nothing.
    """
    if not 0 <= fraction < 1:
        raise InputError(f"holdout must be at least 0 and below 1, got {fraction}")
    held = round(count * fraction)
    if fraction > 0 and not 0 < held < count:
        raise InputError(f"holdout={fraction} of {count} pictures leaves one part empty: change it")
    order = np.random.default_rng((seed, 0x5EC)).permutation(count)
    return sorted(order[held:].tolist()), sorted(order[:held].tolist())
