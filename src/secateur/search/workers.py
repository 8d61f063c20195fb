"""Worker processes on this machine, replaced when they die."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Protocol

import torch
from optuna.trial import TrialState

from secateur.errors import InputError, machine_sentence
from secateur.runtime.allocator import keep_large_blocks
from secateur.search.exact_space import Candidate
from secateur.search.sampling import RESULT, StagedSampler
from secateur.search.study import RateStudy, open_storage

_MOST_DEATHS = 20

_REASONED = 3  # status of a worker that has said in one sentence why it stops

_POLL = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class SearchJob:
    """A search as a worker process needs it to join the study.

    Attributes:
        storage: Path of the journal or URL of the database.
        name: Name of the study.
        sampler: Chooses points.
        n_trials: How many trials to spend in all.
        n_objectives: Figures to maximise.
        identity: What must be equal for a study to be continued.
        stale_after: Seconds after which a trial in work on another machine is given up.
        space: Maps points to rates.
        evaluate: Measures rates.
    """

    storage: str | Path
    name: str
    sampler: StagedSampler
    n_trials: int
    n_objectives: int
    identity: str
    stale_after: float
    space: Space
    evaluate: Evaluation

    def open(self) -> RateStudy:
        """The study, made if it is not there."""
        return RateStudy(
            open_storage(self.storage),
            self.name,
            self.sampler,
            self.n_trials,
            self.n_objectives,
            self.identity,
            self.stale_after,
        )


def run_workers(
    job: SearchJob,
    n_workers: int,
    progressed: Callable[[RateStudy], None] = lambda study: None,
) -> RateStudy:
    """Spend the trials of a study with some processes.

    Args:
        job: What to work on.
        n_workers: Processes, each with one thread; 1 works in this process.
        progressed: Called from time to time.

    Returns:
        The study, all its trials spent.

    Raises:
        InputError: If a number is impossible, a worker cannot go on, or too many die.
        RuntimeError: If a worker fails by an error of its own.
    """
    if n_workers < 1:
        raise InputError(f"n_workers must be at least 1, got {n_workers}")
    study = job.open()
    study.recover()
    if study.counts().spent >= study.n_trials:
        return study
    if n_workers == 1:
        run_trials(study, job.space, job.evaluate, lambda: progressed(study))
        return study
    # By value: the usual way to hand over tensors needs an open file for each of them.
    content = pickle.dumps(job)
    reasons = multiprocessing.get_context("spawn").SimpleQueue()
    workers = [_start(content, reasons) for _ in range(n_workers)]
    deaths = 0
    try:
        while any(member.is_alive() for member in workers) or _left(study):
            workers[0].join(_POLL)
            for position, member in enumerate(workers):
                if member.is_alive() or member.exitcode == 0:
                    continue
                if member.exitcode == _REASONED:
                    raise InputError(reasons.get())
                if member.exitcode is not None and member.exitcode > 0:
                    raise RuntimeError("a worker of the search failed; its error is above")
                deaths += 1
                if deaths > _MOST_DEATHS:
                    raise InputError(
                        f"{deaths} workers of the search were killed, perhaps for lack of memory: "
                        "give the same command again with a smaller n_workers"
                    )
                workers[position] = _start(content, reasons)
            study.recover()
            progressed(study)
    finally:
        for member in workers:
            member.terminate()
        for member in workers:
            member.join()
    return study


def _left(study: RateStudy) -> bool:
    """Whether trials are left to make."""
    return study.counts().spent < study.n_trials


def _start(content: bytes, reasons: SimpleQueue[str]) -> BaseProcess:
    """Start a worker; not by fork, which threads of torch do not survive."""
    context = multiprocessing.get_context("spawn")
    parent = multiprocessing.current_process().pid
    process = context.Process(target=_join, args=(content, parent, reasons), daemon=True)
    process.start()
    return process


def _join(content: bytes, parent: int, reasons: SimpleQueue[str]) -> None:
    """Life of a worker process."""
    # Ctrl-C reaches the whole group of processes: the parent ends the workers in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    keep_large_blocks()
    try:
        job: SearchJob = pickle.loads(content)  # noqa: S301 - from the parent, not from a file
        run_trials(job.open(), job.space, job.evaluate, parent=parent)
    except Exception as error:
        sentence = str(error) if isinstance(error, InputError) else machine_sentence(error)
        if sentence is None:
            raise
        reasons.put(sentence)
        sys.exit(_REASONED)


class Space(Protocol):
    """Maps sampled points to rates: exact, published or front."""

    @property
    def variables(self) -> dict[str, tuple[float, float]]:
        """Bounds of what a sampler chooses."""

    def decode(self, point: Mapping[str, float]) -> Candidate:
        """Rates for one point."""


class Evaluation(Protocol):
    """Measures how good rates are."""

    def __call__(self, rates: Mapping[str, float]) -> float:
        """Quality; larger is better."""

    def identity(self, rates: Mapping[str, float]) -> str:
        """Text that equal networks share."""


@dataclass(frozen=True, slots=True)
class Identify:
    """Tells which points of a space give the same network.

    Attributes:
        space: Maps points to rates.
        evaluate: Knows the masks of rates.
    """

    space: Space
    evaluate: Evaluation

    def __call__(self, point: Mapping[str, float]) -> str:
        """Text that points of equal networks share."""
        return self.evaluate.identity(self.space.decode(point).rates)


def run_trials(
    study: RateStudy,
    space: Space,
    evaluate: Evaluation,
    progressed: Callable[[], None] = lambda: None,
    parent: int | None = None,
) -> None:
    """Make trials until the study has spent all of them.

    Args:
        study: Shared with other workers.
        space: Maps points to rates.
        evaluate: Measures rates; equal networks are measured once.
        progressed: Called after every trial and while waiting for others.
        parent: Process to work for; the worker stops after its trial when that has ended.
    """
    n_objectives = len(study.study.directions)
    while parent is None or os.getppid() == parent:
        trial = study.claim()
        if trial is None:
            if study.counts().spent >= study.n_trials:
                return
            study.recover()
            study.wait()
            progressed()
            continue
        started = time.perf_counter()
        candidate = space.decode(trial.params)
        result: dict[str, object] = {
            "rates": candidate.rates,
            "removed": candidate.removed,
            "penalty": candidate.penalty,
            "feasible": candidate.feasible,
        }
        value = candidate.objective(0.0)
        if candidate.feasible:
            identity = evaluate.identity(candidate.rates)
            known = _known(study, identity)
            quality = evaluate(candidate.rates) if known is None else known
            result |= {"network": identity, "reused": known is not None}
            if quality == quality:  # NaN has no place in a database
                result["quality"] = quality
            value = candidate.objective(quality)
        result["seconds"] = time.perf_counter() - started
        study.finish(trial, [value, candidate.removed][:n_objectives], result)
        progressed()


def _known(study: RateStudy, identity: str) -> float | None:
    """Quality of a network that some trial has measured."""
    for trial in study.trials():
        result = trial.user_attrs.get(RESULT, {})
        if trial.state == TrialState.COMPLETE and result.get("network") == identity:
            return float(result["quality"])
    return None
