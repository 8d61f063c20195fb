"""Trials per second of a search whose trials are empty: what the book-keeping alone costs.

    python -m benchmarks.empty_trials [PROCESSES ...] [--trials 300] [--storage postgresql://...]

Points are random, the objective is free, so what is left is claiming a trial, choosing a point,
looking up whether its network is known, and writing the result. Processes begin together.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event, Semaphore
from pathlib import Path

from secateur.search.exact_space import Candidate
from secateur.search.sampling import SamplerSettings, StagedSampler, StartupPoints
from secateur.search.workers import SearchJob, run_trials


class EmptySpace:
    """Six rates, as a detector of six groups has."""

    def __init__(self) -> None:
        self.variables = {f"g{i}": (0.0, 0.8) for i in range(1, 7)}

    def decode(self, point: Mapping[str, float]) -> Candidate:
        """The rates are the point."""
        return Candidate(dict(point), sum(point.values()) / 6, 0.0, feasible=True)


class EmptyEvaluation:
    """Measures nothing."""

    def __call__(self, rates: Mapping[str, float]) -> float:
        """Any number."""
        return -sum(rates.values())

    def identity(self, rates: Mapping[str, float]) -> str:
        """Every point is a network of its own."""
        return repr(sorted(rates.items()))


def job(storage: str | Path, n_trials: int) -> SearchJob:
    """A search of empty trials."""
    space = EmptySpace()
    sampler = StagedSampler(SamplerSettings("random"), StartupPoints(space.variables, 0), 0)
    return SearchJob(
        storage, "empty", sampler, n_trials, 1, "empty", 3600.0, space, EmptyEvaluation()
    )


def work(
    storage: str | Path, n_trials: int, ready: Semaphore, start: Event, spent: SimpleQueue[float]
) -> None:
    """One process: open the study, wait for the others, make trials, tell its processor time."""
    search = job(storage, n_trials)
    study = search.open()
    ready.release()
    start.wait()
    began = time.process_time()
    run_trials(study, search.space, search.evaluate)
    spent.put(time.process_time() - began)


def measure(
    processes: int, n_trials: int, storage: str | None = None
) -> tuple[float, float, float]:
    """Make trials with some processes.

    Returns:
        Trials per second of all processes together, milliseconds of processor time that a trial
        takes (which a busy machine changes less), and bytes that it leaves in the journal.
    """
    # What is imported is shared, so that many processes fit into memory.
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["secateur.search.workers"])
    ready, start, spent = server.Semaphore(0), server.Event(), server.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "study.journal"
        place = storage or journal
        job(place, n_trials).open()
        workers = [
            server.Process(target=work, args=(place, n_trials, ready, start, spent))
            for _ in range(processes)
        ]
        for worker in workers:
            worker.start()
        for _ in workers:
            ready.acquire()
        began = time.perf_counter()
        start.set()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - began
        processor = sum(spent.get() for _ in workers)
        size = journal.stat().st_size if journal.is_file() else 0
    return n_trials / seconds, 1000 * processor / n_trials, size / n_trials


def main() -> None:
    """Print a row for each number of processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("processes", nargs="*", type=int, default=[1, 2, 4])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--storage", help="URL of a database; a journal file otherwise")
    options = parser.parse_args()
    for processes in options.processes:
        rate, processor, size = measure(processes, options.trials, options.storage)
        print(
            f"{processes:3} processes: {rate:8.1f} trials/s, {processor:6.1f} ms of processor and "
            f"{size:6.0f} bytes a trial",
            flush=True,
        )


if __name__ == "__main__":
    main()
