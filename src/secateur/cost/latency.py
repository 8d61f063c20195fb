"""Latency: how long forwards take, several networks measured in turn."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from secateur.evaluation_mode import evaluation_mode


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one forward.

    Args:
        median_ms: Median in milliseconds.
        low_ms: 10th percentile.
        high_ms: 90th percentile.
        runs: Timed forwards.
        threads: CPU threads that one operator may use.
        device: Where it ran, such as ``cpu``.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    runs: int
    threads: int
    device: str


def measure_side_by_side(
    models: Mapping[str, nn.Module],
    example_inputs: Tensor | Sequence[Any],
    *,
    runs: int = 50,
    warmup: int = 5,
    threads: int = 1,
    max_seconds: float = 20.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Latency]:
    """Time several networks on the same input, one run of each in turn.

    Args:
        models: Networks by name, on the device of the input.
        example_inputs: One input tensor or the arguments of the forward.
        runs: Timed forwards of each network.
        warmup: Forwards of each network before that.
        threads: CPU threads that one operator may use while this measures.
        max_seconds: Stop after this time, but not before five runs.
        clock: Seconds that pass, as for ``time_in_turn``.

    Returns:
        Latency per network.

    Raises:
        ValueError: If a number is below 1.
    """
    if min(runs, threads) < 1 or warmup < 0:
        raise ValueError(f"runs={runs} and threads={threads} must be at least 1, warmup={warmup} 0")
    arguments = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    times = time_in_turn(
        [(model, arguments) for model in models.values()],
        runs=runs,
        warmup=warmup,
        threads=threads,
        max_seconds=max_seconds,
        clock=clock,
    )
    device = device_of(arguments)
    return {
        name: _summarize(values, threads, device)
        for name, values in zip(models, times, strict=True)
    }


def machine_name() -> str:
    """Processor of this machine, which every latency has to be read beside."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def _summarize(values: list[float], threads: int, device: torch.device) -> Latency:
    quantiles = torch.tensor(values, dtype=torch.float64).quantile(
        torch.tensor([0.5, 0.1, 0.9], dtype=torch.float64)
    )
    median, low, high = quantiles.tolist()
    return Latency(median, low, high, len(values), threads, str(device))


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
    """Set the number of threads of operators within a with-statement."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
