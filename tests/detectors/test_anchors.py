"""Anchors against a loop over cells, and the cache around them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from secateur.detectors.anchors import SIZES, STRIDES, AnchorCache, make_anchors

CPU = torch.device("cpu")


def anchors_one_by_one(
    level_sizes: list[tuple[int, int]], height: int, width: int, ratio: float
) -> Tensor:
    rows = []
    for (n_rows, n_columns), stride, size in zip(level_sizes, STRIDES, SIZES, strict=True):
        for i in range(n_rows):
            for j in range(n_columns):
                cx, cy = (j + 0.5) * stride / width, (i + 0.5) * stride / height
                rows.append([cx, cy, size / width, size * ratio / height])
    return torch.tensor(np.array(rows), dtype=torch.float32)


@pytest.mark.parametrize(("height", "width", "ratio"), [(320, 320, 1.0), (333, 517, 1.25)])
def test_anchors_equal_those_made_one_by_one(height: int, width: int, ratio: float) -> None:
    level_sizes = [(-(-height // s), -(-width // s)) for s in STRIDES]
    made = make_anchors(level_sizes, (height, width), ratio=ratio)
    assert torch.equal(made, anchors_one_by_one(level_sizes, height, width, ratio))
    assert torch.equal(AnchorCache(ratio=ratio)(height, width, CPU), made)


def test_levels_strides_and_sizes_must_agree_in_number() -> None:
    with pytest.raises(ValueError, match="longer than argument"):
        make_anchors([(1, 1)], (4, 4))


def test_cache_returns_the_same_tensor_and_forgets_the_oldest() -> None:
    cache = AnchorCache(capacity=2)
    first = cache(64, 64, CPU)
    cache(64, 96, CPU)
    assert cache(64, 64, CPU) is first
    cache(96, 96, CPU)  # the oldest is now 64x96
    assert cache(64, 64, CPU) is first
    assert len(cache._known) == 2


def test_anchors_first_made_in_inference_mode_serve_training() -> None:
    cache = AnchorCache()
    with torch.inference_mode():
        made = cache(64, 64, CPU)
    assert not made.is_inference()
    scale = torch.ones(1, requires_grad=True)
    (cache(64, 64, CPU) * scale).sum().backward()


def test_copies_and_pickles_start_empty() -> None:
    cache = AnchorCache(ratio=1.25)
    expected = cache(64, 64, CPU)
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert other._known == {}
        assert torch.equal(other(64, 64, CPU), expected)
    assert len(cache._known) == 1
