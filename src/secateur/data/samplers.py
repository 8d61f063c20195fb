"""Samplers that know their epoch and their share of a distributed run."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
import torch.distributed
from torch.utils.data import Sampler


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffled keys (epoch, index), a function of seed and epoch alone.

    All processes get the same number of keys: the last ``count % world`` of the shuffled order
    are left out of an epoch. Lightning calls `set_epoch` before every epoch, also on resume.

    Args:
        count: Number of items.
        seed: Seed of the run.
        rank: Rank of this process; None asks torch.distributed.
        world_size: Number of processes; None asks torch.distributed.

    Raises:
        ValueError: If there are fewer items than processes.
    """

    def __init__(
        self, count: int, seed: int, rank: int | None = None, world_size: int | None = None
    ) -> None:
        self.count = count
        self.seed = seed
        self.epoch = 0
        self.rank, self.world_size = _place(rank, world_size)
        if count < self.world_size:
            raise ValueError(f"{count} pictures cannot be shared by {self.world_size} processes")

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of keys of this process."""
        return self.count // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Keys of this process in this epoch."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        share = order[self.rank : len(self) * self.world_size : self.world_size]
        return iter([(self.epoch, index) for index in share.tolist()])


class SizeBatchSampler(Sampler[list[int]]):
    """Batches of items of equal size in a fixed order; every item exactly once over all processes.

    Args:
        sizes: Size of each item.
        batch_size: Largest batch.
        rank: Rank of this process; None asks torch.distributed.
        world_size: Number of processes; None asks torch.distributed.
    """

    def __init__(
        self,
        sizes: Sequence[Hashable],
        batch_size: int,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self.rank, self.world_size = _place(rank, world_size)
        groups: dict[Hashable, list[int]] = {}
        for index, size in enumerate(sizes):
            groups.setdefault(size, []).append(index)
        batches = [
            group[start : start + batch_size]
            for group in groups.values()
            for start in range(0, len(group), batch_size)
        ]
        batches.sort(key=lambda batch: batch[0])
        self._batches = batches[self.rank :: self.world_size]

    def __len__(self) -> int:
        """Number of batches of this process; processes may differ by one."""
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        """Batches of this process."""
        return iter(self._batches)


def _place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Rank and number of processes, as given or as torch.distributed knows them."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if rank is None:
        rank = torch.distributed.get_rank() if distributed else 0
    if world_size is None:
        world_size = torch.distributed.get_world_size() if distributed else 1
    return rank, world_size
