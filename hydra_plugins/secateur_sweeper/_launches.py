"""Trials under way: how jobs are handed to a launcher, and what comes back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One trial, as it is handed to the launcher.

    Attributes:
        number: Number of the trial, and of its folder.
        overrides: Its overrides.
    """

    number: int
    overrides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a job.

    Attributes:
        number: Number of the trial.
        value: What the task function returned; None if it raised.
        error: What it raised, or what the launcher raised about it.
    """

    number: int
    value: Any
    error: BaseException | None


class Launches:
    """Starts jobs and hands out their outcomes as they come.

    A submitit launcher gets every job by itself, from a thread, so that no job waits for the
    slowest of a batch and a killed one takes no other with it. Any other launcher gets the jobs
    as a batch; if it gives up over one of them, all are started again one by one, where jobs that
    had finished return what they know.

    Args:
        launcher: The launcher.
        retries: How often a job is started again after the launcher raised.
    """

    def __init__(self, launcher: Launcher, retries: int) -> None:
        self._launcher = launcher
        self._retries = retries
        self._batch: list[Job] = []
        self._each_alone = hasattr(launcher, "_EXECUTOR")  # what submitit's launchers have
        self._in_threads = 0
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()

    @property
    def in_this_process(self) -> bool:
        """Whether a job that dies takes this process with it."""
        return isinstance(self._launcher, BasicLauncher)

    @property
    def under_way(self) -> int:
        """Number of jobs without a result."""
        return len(self._batch) + self._in_threads

    def start(self, job: Job) -> None:
        """Take a job."""
        if not self._each_alone:
            self._batch.append(job)
            return
        self._in_threads += 1
        # A daemon, so that Ctrl-C need not wait for a cluster; the jobs there go on.
        threading.Thread(
            target=lambda: self._outcomes.put(self._alone(job, self._retries)), daemon=True
        ).start()

    def wait(self) -> list[Outcome]:
        """Outcomes of at least one job."""
        if not self._each_alone:
            batch, self._batch = self._batch, []
            return self._together(batch)
        self._in_threads -= 1
        return [self._outcomes.get()]

    def _together(self, batch: Sequence[Job]) -> list[Outcome]:
        if len(batch) == 1:
            return [self._alone(batch[0], self._retries)]
        try:
            returns = self._launch(batch)
        except Exception as error:
            log.warning("the launcher gave up (%s); trials go on one by one", _first_line(error))
            return [self._alone(job, max(self._retries - 1, 0)) for job in batch]
        return [_outcome(job, back) for job, back in zip(batch, returns, strict=True)]

    def _alone(self, job: Job, retries: int) -> Outcome:
        for attempt in range(retries + 1):
            try:
                [back] = self._launch([job])
                return _outcome(job, back)
            except Exception as error:
                failure = error
            if attempt < retries:
                log.warning("trial %d is started again: %s", job.number, _first_line(failure))
        return Outcome(job.number, None, failure)

    def _launch(self, jobs: Sequence[Job]) -> Sequence[JobReturn]:
        overrides = [list(job.overrides) for job in jobs]
        return self._launcher.launch(overrides, initial_job_idx=jobs[0].number)


def _outcome(job: Job, back: JobReturn) -> Outcome:
    try:
        return Outcome(job.number, back.return_value, None)
    except Exception as error:
        return Outcome(job.number, None, error)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
