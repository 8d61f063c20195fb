from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.slimming.graph.expanded_tensors import (
    along_dimension,
    broadcast_small,
    compress,
    distinct,
    shrink,
    varying_dimensions,
)


def test_a_vector_laid_along_a_dimension_costs_no_memory() -> None:
    labels = along_dimension(torch.arange(5), 1, (2, 5, 7, 7))
    assert labels.shape == (2, 5, 7, 7)
    assert shrink(labels).shape == (1, 5, 1, 1)
    assert varying_dimensions(labels) == (1,)
    assert distinct(labels).tolist() == [0, 1, 2, 3, 4]


@settings(deadline=None)  # the first draw pays for imports
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data())
def test_compressing_changes_nothing_but_strides(shape: list[int], data: st.DataObject) -> None:
    varying = [data.draw(st.booleans()) for _ in shape]
    small = [n if v else 1 for n, v in zip(shape, varying, strict=True)]
    values = torch.arange(torch.Size(small).numel()).double().view(small)
    values[values == 1] = float("nan")
    full = values.expand(shape).contiguous()
    found = compress(full)
    torch.testing.assert_close(found, full, equal_nan=True)
    assert set(varying_dimensions(found)) == {
        d for d, (n, v) in enumerate(zip(shape, varying, strict=True)) if v and n > 1
    }


def test_broadcasting_stays_small() -> None:
    a, b = broadcast_small(
        along_dimension(torch.arange(4), 1, (1, 4, 8, 8)), torch.zeros(1, 1, 1, 1)
    )
    assert a.shape == b.shape == (1, 4, 1, 1)
