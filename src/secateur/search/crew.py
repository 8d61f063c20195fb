"""A crew: worker processes on this machine, replaced when they die."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from secateur.deploy.allocator import keep_large_blocks
from secateur.errors import InputError
from secateur.search.sampling import StagedSampler
from secateur.search.storage import open_storage
from secateur.search.study import RateStudy
from secateur.search.worker import Evaluation, Space, work

_MOST_DEATHS = 20
_POLL = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker needs to join a study.

    Attributes:
        storage: Path of the journal or URL of the database.
        name: Of the study.
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


def run_crew(
    assignment: Assignment,
    n_workers: int,
    progressed: Callable[[RateStudy], None] = lambda study: None,
) -> RateStudy:
    """Spend the trials of a study with some processes.

    Args:
        assignment: What to work on.
        n_workers: Processes, each with one thread; 1 works in this process.
        progressed: Called from time to time.

    Returns:
        The study, all its trials spent.

    Raises:
        InputError: If a number is impossible.
        RuntimeError: If a worker fails by an error of its own, or too many die.
    """
    if n_workers < 1:
        raise InputError(f"n_workers must be at least 1, got {n_workers}")
    study = assignment.open()
    study.recover()
    if study.counts().spent >= study.n_trials:
        return study
    if n_workers == 1:
        work(study, assignment.space, assignment.evaluate, lambda: progressed(study))
        return study
    # By value: the usual way to hand over tensors needs an open file for each of them.
    content = pickle.dumps(assignment)
    crew = [_start(content) for _ in range(n_workers)]
    deaths = 0
    try:
        while any(member.is_alive() for member in crew) or _left(study):
            crew[0].join(_POLL)
            for position, member in enumerate(crew):
                if member.is_alive() or member.exitcode == 0:
                    continue
                if member.exitcode is not None and member.exitcode > 0:
                    raise RuntimeError("a worker of the search failed; its error is above")
                deaths += 1
                if deaths > _MOST_DEATHS:
                    raise RuntimeError(f"{deaths} workers of the search were killed; giving up")
                crew[position] = _start(content)
            study.recover()
            progressed(study)
    finally:
        for member in crew:
            member.terminate()
        for member in crew:
            member.join()
    return study


def _left(study: RateStudy) -> bool:
    """Whether trials are left to make."""
    return study.counts().spent < study.n_trials


def _start(content: bytes) -> BaseProcess:
    """Start a worker; not by fork, which threads of torch do not survive."""
    context = multiprocessing.get_context("spawn")
    parent = multiprocessing.current_process().pid
    process = context.Process(target=_join, args=(content, parent), daemon=True)
    process.start()
    return process


def _join(content: bytes, parent: int) -> None:
    """Life of a worker process."""
    torch.set_num_threads(1)
    keep_large_blocks()
    assignment: Assignment = pickle.loads(content)  # noqa: S301 - from the parent, not from a file
    work(assignment.open(), assignment.space, assignment.evaluate, parent=parent)
