"""What memory, layout and fusing do for the forward of a detector on one CPU thread.

Every figure comes from a process of its own, because what the allocator was told cannot be taken
back. The pictures have another size each time, as those of a set do.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator

import torch

from benchmarks.results import table, write_section
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.runtime.allocator import ask_for_large_pages, keep_large_blocks
from secateur.runtime.fusion import fuse

NETWORKS = {"EResFD": EResFD, "EXTD-64": lambda: EXTD(64)}
SIZES = ((480, 640), (1200, 1600))
WAYS = (
    "as PyTorch comes",
    "freed memory kept",
    "and large pages",
    "and channels last",
    "and fused",
)
FORWARDS = 6


def main() -> None:
    """Measure and write the table."""
    rows = list(measure())
    header = ["network, size", *WAYS, "first / last"]
    about = (
        "`python -m benchmarks forward`: median milliseconds of a forward without gradients, in "
        f"processor time of one thread, over {FORWARDS} pictures of slightly different sizes. Each "
        "column adds one thing to the column before; `evaluate.py` does what the last one does, "
        "and users need set nothing."
    )
    write_section("Forward of a detector", f"{about}\n\n{table(header, rows)}")
    print(table(header, rows))


def measure() -> Iterator[list[str]]:
    """One row per network and size."""
    for name in NETWORKS:
        for height, width in SIZES:
            times = [in_new_process(name, height, width, way) for way in range(len(WAYS))]
            ratio = f"{times[0] / times[-1]:.1f}x"
            yield [f"{name}, {width} x {height}", *(f"{ms:.0f}" for ms in times), ratio]


def in_new_process(name: str, height: int, width: int, way: int) -> float:
    """Milliseconds, measured where nothing else has run."""
    before = dict(os.environ)
    os.environ.pop("THP_MEM_ALLOC_ENABLE", None)
    if way >= 2:
        ask_for_large_pages()  # what the new process inherits is there before its first tensor
    try:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(forward_ms, (name, height, width, way))
    finally:
        os.environ.clear()
        os.environ.update(before)


def forward_ms(name: str, height: int, width: int, way: int) -> float:
    """Median milliseconds of a forward.

    Args:
        name: One of ``NETWORKS``.
        height: Of the largest picture, in pixels.
        width: Of the largest picture.
        way: How many of ``WAYS`` count, from 0.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if way >= 1:
        keep_large_blocks()
    network = NETWORKS[name]().eval()
    if way >= 4:
        network = fuse(network)
    layout = torch.channels_last if way >= 3 else torch.contiguous_format
    network = network.to(memory_format=layout)  # type: ignore[call-overload]
    times = []
    with torch.inference_mode():
        for step in range(FORWARDS + 1):
            image = 50 * torch.randn(1, 3, height - 3 * step, width - 4 * step)
            image = image.contiguous(memory_format=layout)
            started = time.thread_time()
            network(image)
            times.append(1e3 * (time.thread_time() - started))
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
