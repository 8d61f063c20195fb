"""A study that any number of processes share: every trial is made once and none is lost.

A trial is *spent* when it is complete, or failed by its own fault. Trials of workers that died
are told to have failed and their points are queued again. When two processes ask for the last
trial at once, the one with the lower number has it and the other is *surplus*, which counts for
nothing: numbers are given out by the storage, one after the other.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from secateur.errors import InputError
from secateur.search.journal import open_journal
from secateur.search.process_identity import is_dead
from secateur.search.sampling import OWNER, RESULT, StagedSampler

log = logging.getLogger(__name__)

_FAILED, _RETRIES, _IDENTITY = "failed", "retries", "identity"

_LOST, _SURPLUS, _OWN_FAULT = "lost", "surplus", "own fault"

_MOST_RETRIES = 3

_NAMELESS = 10.0  # seconds in which a new trial gets its owner

_IN_WORK = (TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True, slots=True)
class Counts:
    """Trials by what has become of them.

    Attributes:
        spent: Complete or failed by their own fault.
        running: Trials that are being made.
        waiting: Queued again after their worker died.
    """

    spent: int
    running: int
    waiting: int


class RateStudy:
    """An Optuna study with exact accounts.

    Args:
        storage: Shared storage.
        name: Name of the study in it.
        sampler: Chooses points.
        n_trials: How many trials to spend in all, whoever makes them.
        n_objectives: Figures to maximise.
        identity: What must be equal for a study to be continued.
        stale_after: Seconds after which a trial in work on another machine is given up.

    Raises:
        InputError: If the storage holds another study of that name.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        sampler: StagedSampler,
        n_trials: int,
        n_objectives: int = 1,
        identity: str = "",
        stale_after: float = 3600.0,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study: Study = optuna.create_study(
            storage=storage,
            sampler=sampler,
            study_name=name,
            directions=["maximize"] * n_objectives,
            load_if_exists=True,
        )
        self.sampler = sampler
        self.n_trials = n_trials
        self.stale_after = stale_after
        found = self.study.user_attrs.get(_IDENTITY)
        if found is None:
            self.study.set_user_attr(_IDENTITY, identity)
        elif found != identity:
            raise InputError(
                f"study {name} in this storage was made with other weights, groups or settings: "
                "give the same ones to continue it, or another study= or storage="
            )

    def trials(self) -> list[FrozenTrial]:
        """All trials but surplus ones, by number."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.user_attrs.get(_FAILED) != _SURPLUS]

    def counts(self, trials: Sequence[FrozenTrial] | None = None) -> Counts:
        """How many trials there are of each kind."""
        trials = self.trials() if trials is None else trials
        states = [trial.state for trial in trials]
        return Counts(
            spent=sum(map(is_spent, trials)),
            running=states.count(TrialState.RUNNING),
            waiting=states.count(TrialState.WAITING),
        )

    def claim(self) -> Trial | None:
        """Start a trial that nobody else makes, or None when there is none at present."""
        counts = self.counts()
        if counts.spent + counts.running >= self.n_trials:
            return None
        try:
            trial = self.study.ask()
        except UpdateFinishedTrialError:
            # held up for so long that another process took it for lost before it had an owner
            return None
        earlier = [other for other in self.trials() if other.number < trial.number]
        if sum(is_spent(other) or other.state in _IN_WORK for other in earlier) >= self.n_trials:
            self._fail(trial._trial_id, _SURPLUS)
            return None
        if not self._suggest(trial):
            log.warning("trial %d asks for what the space does not hold: it failed", trial.number)
            self._fail(trial._trial_id, _OWN_FAULT)
            return None
        return trial

    def _suggest(self, trial: Trial) -> bool:
        """Choose a point; False if the storage queued one that is not in the space."""
        for variable, (low, high) in self.sampler.points.variables.items():
            try:
                value = trial.suggest_float(variable, low, high)
            except (TypeError, ValueError, LookupError):
                return False
            if not low <= value <= high:
                return False
        return True

    def finish(self, trial: Trial, values: Sequence[float], result: dict[str, Any]) -> None:
        """Record what came of a trial; figures that are not finite make it a failed one.

        Args:
            trial: From ``claim``.
            values: Figures to maximise.
            result: Plain values to keep with the trial.
        """
        # A trial that was given up for lost has been queued again: this result comes too late.
        with contextlib.suppress(UpdateFinishedTrialError, ValueError):
            trial.set_user_attr(RESULT, result)
            if all(-float("inf") < value < float("inf") for value in values):
                self.study.tell(trial, list(values))
            else:
                self._fail(trial._trial_id, _OWN_FAULT)

    def recover(self) -> int:
        """Queue the points of trials again whose workers died.

        Returns:
            How many there were.
        """
        lost = [trial for trial in self.trials() if self._is_lost(trial)]
        recovered = 0
        for frozen in lost:
            retries = int(frozen.user_attrs.get(_RETRIES, 0))
            reason = _LOST if retries < _MOST_RETRIES else _OWN_FAULT
            if self._fail(frozen._trial_id, reason) and reason == _LOST:
                point = dict(frozen.params) or self.sampler.points(frozen.number)
                self.study.enqueue_trial(point, user_attrs={_RETRIES: retries + 1})
                recovered += 1
        return recovered

    def wait(self, seconds: float = 0.2) -> None:
        """Wait, so that other processes can continue."""
        time.sleep(seconds)

    def _fail(self, trial_id: int, reason: str) -> bool:
        """Report that a trial failed; False when another process has already reported its end."""
        storage = self.study._storage
        try:
            storage.set_trial_user_attr(trial_id, _FAILED, reason)
            return storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False

    def _is_lost(self, trial: FrozenTrial) -> bool:
        """Whether nobody works on a running trial any more."""
        if trial.state != TrialState.RUNNING or trial.datetime_start is None:
            return False
        age = (datetime.now() - trial.datetime_start).total_seconds()
        process = trial.user_attrs.get(OWNER)
        if process is None:
            return age > _NAMELESS
        dead = is_dead(process)
        return age > self.stale_after if dead is None else dead


def is_spent(trial: FrozenTrial) -> bool:
    """Whether a trial counts towards the total."""
    return trial.state == TrialState.COMPLETE or (
        trial.state == TrialState.FAIL and trial.user_attrs.get(_FAILED) == _OWN_FAULT
    )


_ATTEMPTS = 5


def open_storage(location: str | Path) -> BaseStorage:
    """Open the storage of a study; it is made if it is not there.

    Args:
        location: Path of a journal file, on a file system that all machines see, or the URL of a
            database such as ``postgresql://user@host/name``.

    Returns:
        A storage that many processes may use at once.

    Raises:
        InputError: If the database cannot be reached.
    """
    text = str(location)
    if "://" not in text:
        return open_journal(Path(text))
    scheme, _, rest = text.partition("://")
    if scheme in ("postgres", "postgresql") and importlib.util.find_spec("psycopg"):
        scheme = "postgresql+psycopg"  # SQLAlchemy would look for psycopg2
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for attempt in range(_ATTEMPTS):
        try:
            return RDBStorage(f"{scheme}://{rest}")
        except (ImportError, optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
            if isinstance(error, IntegrityError | ProgrammingError) and attempt + 1 < _ATTEMPTS:
                # Two processes make the tables at once: the loser finds them when it looks again.
                time.sleep(1.0)
                continue
            raise InputError(
                f"storage={scheme}://... cannot be opened ({str(error).splitlines()[0]}): check "
                "host, user, name and that the driver is installed (pip install "
                "'secateur[cluster]' for PostgreSQL), or leave storage out for a journal file"
            ) from error
    raise AssertionError("not reached")
