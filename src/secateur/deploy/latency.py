"""Latency: how long one forward takes, several networks measured in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secateur.evaluation_mode import evaluation_mode

_FEWEST_RUNS = 5


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
) -> dict[str, Latency]:
    """Time several networks on the same input, one run of each in turn.

    A machine that slows down for a while then slows all of them down, and their ratio holds. The
    order turns round after every round, so that none always follows the same other.

    Args:
        models: Networks by name, on the device of the input.
        example_inputs: One input tensor or the arguments of the forward.
        runs: Timed forwards of each network.
        warmup: Forwards of each network before that.
        threads: CPU threads that one operator may use while this measures.
        max_seconds: Stop after this time, but not before five runs.

    Returns:
        Latency per network.

    Raises:
        ValueError: If a number is below 1.
    """
    if min(runs, threads) < 1 or warmup < 0:
        raise ValueError(f"runs={runs} and threads={threads} must be at least 1, warmup={warmup} 0")
    arguments = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    device = next((a.device for a in arguments if isinstance(a, Tensor)), torch.device("cpu"))
    times: dict[str, list[float]] = {name: [] for name in models}
    with evaluation_mode(*models.values()), torch.inference_mode(), _threads(threads):
        for model in models.values():
            for _ in range(warmup):
                _time(model, arguments, device)
        order = list(models)
        until = time.perf_counter() + max_seconds
        for done in range(runs):
            if done >= _FEWEST_RUNS and time.perf_counter() > until:
                break
            for name in order:
                times[name].append(_time(models[name], arguments, device))
            order.reverse()
    return {name: _summarise(values, threads, device) for name, values in times.items()}


def _time(model: nn.Module, arguments: tuple[Any, ...], device: torch.device) -> float:
    """Milliseconds of one forward, until its result is there."""
    started = time.perf_counter()
    model(*arguments)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - started)


def _summarise(values: list[float], threads: int, device: torch.device) -> Latency:
    quantiles = torch.tensor(values, dtype=torch.float64).quantile(
        torch.tensor([0.5, 0.1, 0.9], dtype=torch.float64)
    )
    median, low, high = quantiles.tolist()
    return Latency(median, low, high, len(values), threads, str(device))


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """Let operators use so many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
