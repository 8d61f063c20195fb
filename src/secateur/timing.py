"""How long forwards take, run in turn so that what disturbs one disturbs all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from secateur.evaluation_mode import evaluation_mode

_FEWEST_RUNS = 5

Forward = tuple[nn.Module, tuple[Any, ...]]


def time_in_turn(
    forwards: Sequence[Forward],
    *,
    runs: int,
    warmup: int = 1,
    threads: int = 1,
    max_seconds: float = 20.0,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Time forwards in evaluation mode, one run of each in turn.

    A machine that slows down for a while then slows all of them down, and their ratio holds. The
    order turns round after every round, so that none always follows the same other.

    Args:
        forwards: Networks and the arguments of their forwards, on the device of the network.
        runs: Timed runs of each.
        warmup: Runs of each before that.
        threads: CPU threads that one operator may use while this measures.
        max_seconds: Stop after this time, but not before five runs.
        clock: Seconds that pass. With ``time.thread_time`` other work on the machine does not
            count, nor does what other threads or devices do for the forward.

    Returns:
        Milliseconds of every run, per forward.
    """
    times: list[list[float]] = [[] for _ in forwards]
    models = [model for model, _ in forwards]
    with evaluation_mode(*models), torch.inference_mode(), _threads(threads):
        for model, arguments in forwards:
            for _ in range(warmup):
                milliseconds(model, arguments, clock)
        order = list(range(len(forwards)))
        until = time.perf_counter() + max_seconds
        for done in range(runs):
            if done >= _FEWEST_RUNS and time.perf_counter() > until:
                break
            for index in order:
                times[index].append(milliseconds(*forwards[index], clock))
            order.reverse()
    return times


def milliseconds(model: nn.Module, arguments: tuple[Any, ...], clock: Callable[[], float]) -> float:
    """Time of one forward, until its result is there."""
    device = device_of(arguments)
    started = clock()
    model(*arguments)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * (clock() - started)


def device_of(arguments: tuple[Any, ...]) -> torch.device:
    """Device of the first tensor among the arguments of a forward."""
    return next((a.device for a in arguments if isinstance(a, Tensor)), torch.device("cpu"))


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """Let operators use so many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
