"""Run a function in several processes joined by gloo."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing


def run_processes(
    function: Callable[..., dict[str, Any]], *arguments: object, n_processes: int = 2
) -> list[dict[str, Any]]:
    """Call ``function(rank, n_processes, *arguments)`` in each of some fresh processes.

    Args:
        function: A function at the top of a test file; returns tensors and numbers by name.
        *arguments: What it takes beside its rank and the number of processes.
        n_processes: How many processes to start.

    Returns:
        What each rank returned.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(
            _join_and_call, (n_processes, folder, function, arguments), nprocs=n_processes
        )
        return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(n_processes)]


def _join_and_call(
    rank: int,
    n_processes: int,
    folder: str,
    function: Callable[..., dict[str, Any]],
    arguments: tuple[object, ...],
) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=n_processes
    )
    try:
        torch.save(function(rank, n_processes, *arguments), Path(folder) / f"{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()
