"""Samplers: reproducible orders, shares of processes, sizes that belong together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.data.samplers import EpochSampler, SizeBatchSampler


def test_order_depends_on_seed_and_epoch_alone() -> None:
    sampler, resumed = EpochSampler(50, seed=3), EpochSampler(50, seed=3)
    orders = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert {epoch_of for epoch_of, _ in orders[-1]} == {epoch}
        assert sorted(index for _, index in orders[-1]) == list(range(50))
    assert len({tuple(index for _, index in order) for order in orders}) == 4
    resumed.set_epoch(3)
    assert list(resumed) == orders[3]
    assert list(EpochSampler(50, seed=4)) != orders[0]


@given(count=st.integers(1, 60), world=st.integers(1, 7), epoch=st.integers(0, 9))
def test_training_shares_are_equal_and_disjoint(count: int, world: int, epoch: int) -> None:
    if count < world:
        with pytest.raises(ValueError, match="cannot be shared"):
            EpochSampler(count, 0, 0, world)
        return
    shares = []
    for rank in range(world):
        sampler = EpochSampler(count, 0, rank, world)
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert len(keys) == len(sampler) == count // world
        shares += keys
    assert len(set(shares)) == len(shares) == count - count % world


@given(
    sizes=st.lists(st.sampled_from([(1, 2), (2, 1), (3, 3)]), max_size=40),
    batch_size=st.integers(1, 5),
    world=st.integers(1, 4),
)
def test_evaluation_covers_everything_once(
    sizes: list[tuple[int, int]], batch_size: int, world: int
) -> None:
    seen: list[int] = []
    for rank in range(world):
        sampler = SizeBatchSampler(sizes, batch_size, rank, world)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        for batch in batches:
            assert 1 <= len(batch) <= batch_size
            assert len({sizes[index] for index in batch}) == 1
            seen += batch
    assert sorted(seen) == list(range(len(sizes)))


def test_single_pictures_keep_their_order() -> None:
    assert list(SizeBatchSampler([None] * 4, 1)) == [[0], [1], [2], [3]]
