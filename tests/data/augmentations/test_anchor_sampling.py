"""Data-anchor sampling: sizes and places follow the rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.augmentations.window_transforms import DataAnchorSampling, draw_anchor_window

ANCHORS = (16, 32, 64, 128, 256, 512)


def scaled_sides(side: float, draws: int = 4000) -> np.ndarray:
    """Side of a lone square face in the resized window, over many draws."""
    box = np.array([[400.0, 300, 400 + side, 300 + side]])
    sides = []
    for seed in range(draws):
        window = draw_anchor_window(box, 700, 1000, 640, np.random.default_rng(seed), ANCHORS)
        assert window is not None
        sides.append((side + 1) * 640 / window.side)
    return np.array(sides)


@pytest.mark.parametrize(("side", "targets"), [(15, 2), (40, 3), (100, 5)])
def test_targets_are_uniform_up_to_one_anchor_larger(side: int, targets: int) -> None:
    octaves = np.log2(scaled_sides(side) / 16)  # target 2^k, plus -1..1
    assert octaves.min() > -1.1
    assert octaves.max() < targets + 0.1
    # log2(size) = k + U(-1, 1), k uniform over the targets
    assert octaves.mean() == pytest.approx((targets - 1) / 2, abs=0.1)
    assert octaves.var() == pytest.approx((targets**2 - 1) / 12 + 1 / 3, rel=0.1)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 5))
def test_a_face_is_whole_in_the_window_or_nearly_fills_it(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    low = generator.uniform(0, 300, (count, 2))
    boxes = np.concatenate([low, low + generator.uniform(2, 100, (count, 2))], axis=1)
    window = draw_anchor_window(boxes, 400, 400, 320, generator, ANCHORS)
    if window is None:
        return
    inside = (boxes[:, :2] >= [window.left, window.top]).all(axis=1)
    inside &= (boxes[:, 2:] <= [window.left + window.side, window.top + window.side]).all(axis=1)
    low = np.maximum(boxes[:, :2], [window.left, window.top])
    high = np.minimum(boxes[:, 2:], [window.left + window.side, window.top + window.side])
    overlap = np.clip(high - low, 0, None).prod(axis=1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + window.side**2 - overlap
    assert inside.any() or (overlap / union > 0.7).any()


def test_offsets_are_uniform_over_what_holds_the_face() -> None:
    box = np.array([[500.0, 400, 520, 420]])
    left = []
    for seed in range(3000):
        window = draw_anchor_window(box, 4000, 4000, 640, np.random.default_rng(seed), (32,))
        assert window is not None
        left.append((window.left - (520 - window.side)) / (window.side - 20))
    assert np.mean(left) == pytest.approx(0.5, abs=0.03)
    assert np.var(left) == pytest.approx(1 / 12, rel=0.1)


def test_no_face_is_blown_up_without_bound() -> None:
    box = np.array([[5.0, 5, 5.01, 5.01]])
    for seed in range(50):
        window = draw_anchor_window(box, 1000, 1000, 640, np.random.default_rng(seed), (512,))
        if window is not None:
            assert window.side >= round(640 * 1000 / 12_000)


def test_transform_uses_its_own_generator() -> None:
    transform = DataAnchorSampling(640, ANCHORS)
    box = np.array([[500.0, 400, 520, 420]])
    transform.set_random_seed(3)
    first = transform.draw_window(box, 700, 1000)
    transform.set_random_seed(3)
    assert transform.draw_window(box, 700, 1000) == first
    assert transform.draw_window(box, 700, 1000) != first
