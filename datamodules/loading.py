"""How pictures are loaded: by how many processes, and how long one of them may take."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from secateur.errors import InputError

log = logging.getLogger(__name__)

TIMEOUT = 600.0  # seconds for one batch; a network drive that hangs would be waited for without end
_SHARED = Path("/dev/shm")  # noqa: S108 - where Linux keeps memory that processes share
_PREFETCHED = 2  # batches that a process has ready, the default of torch
_USABLE = 0.8  # of what is free: others share it


def checked_workers(batch_size: int, eval_batch_size: int, num_workers: int | None) -> int:
    """Number of loading processes, once the sizes that a user gave are known to be possible.

    Args:
        batch_size: Of training.
        eval_batch_size: Of evaluation.
        num_workers: Processes wanted; None takes two where there are as many processors.

    Raises:
        InputError: If a number is too small.
    """
    for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
        if value < 1:
            raise InputError(f"data.{name} must be at least 1, got {value}")
    if num_workers is None:
        return min(2, os.cpu_count() or 1)
    if num_workers < 0:
        raise InputError(f"data.num_workers must be at least 0, got {num_workers}")
    return num_workers


def loader_settings(num_workers: int, batch_bytes: int) -> dict[str, Any]:
    """Arguments of every `DataLoader`: processes that fit, one thread in each, a time limit.

    Args:
        num_workers: Processes wanted.
        batch_bytes: Size of a batch, which a process hands over in shared memory.
    """
    workers = workers_that_fit(num_workers, batch_bytes)
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "worker_init_fn": use_one_thread,
        "timeout": TIMEOUT if workers else 0.0,
        "pin_memory": torch.cuda.is_available(),  # copies to a CUDA device then run beside it
    }


def workers_that_fit(wanted: int, batch_bytes: int, shared: Path = _SHARED) -> int:
    """As many processes as shared memory has room for, and a warning if these are fewer.

    Containers give 64 MB unless told otherwise; a process that finds no room is killed by a bus
    error, and the others wait for it.

    Args:
        wanted: Processes wanted.
        batch_bytes: Size of a batch.
        shared: Where the system keeps shared memory.
    """
    try:
        status = os.statvfs(shared)
    except OSError:
        return wanted
    free = int(status.f_bavail * status.f_frsize * _USABLE)
    # what every process has ready, and the batch that the network is at
    fitting = max(0, (free - batch_bytes) // max(1, _PREFETCHED * batch_bytes))
    if fitting >= wanted:
        return wanted
    log.warning(
        "%s has %d MB free and a batch takes %.0f MB: %d instead of %d processes load pictures; "
        "give the container more (docker run --shm-size=2g), or take a smaller data.batch_size",
        *(shared, free / _USABLE / 1e6, batch_bytes / 1e6, fitting, wanted),
    )
    return fitting


def use_one_thread(worker: int) -> None:
    """Keep a loading process to one core: OpenCV and torch would start a thread per core each."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def draw_inputs(items: Any, count: int, seed: int) -> Tensor:
    """Inputs (count, 3, S, S) of the first epoch of a training, drawn among all of its pictures.

    Args:
        items: The training set; its keys are (epoch, index), and an input comes first in an item.
        count: How many; fewer if there are fewer training pictures.
        seed: Of the draw.
    """
    chosen = np.random.default_rng(seed).permutation(len(items))[:count]
    return torch.stack([items[0, int(index)][0] for index in chosen])
