"""Processor: what a process that runs networks on a CPU settles before it starts."""

from __future__ import annotations

import torch

from secateur.deploy.allocator import keep_large_blocks


def prepare_processor() -> None:
    """Keep freed memory, and take numbers below 1e-38 for zero.

    Weight decay leaves filters that nothing pulls on with such denormal numbers, which a processor
    multiplies many times more slowly: 15,162 of the 162,352 weights of one released EXTD hold one,
    and cost it nine tenths of its time. Threads inherit the setting from the one that starts them,
    so this comes before the first operation that is shared among threads.
    """
    keep_large_blocks()
    torch.set_flush_denormal(True)  # False where the processor cannot, which costs time alone
