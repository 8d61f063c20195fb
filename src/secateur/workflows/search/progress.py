"""Live progress of a search: best value, feasible share, remaining time."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from secateur.reports.tables import NOTHING, percent
from secateur.search.records import TrialRecord, best, completed, read_trial
from secateur.search.study import RateStudy

log = logging.getLogger(__name__)

_EVERY = 0.5  # seconds between looks at the study

_LOGGED = 10  # lines of a log that is no terminal


class SearchProgress:
    """One line that is kept up to date; in a log that is no terminal, ten lines.

    Args:
        n_trials: Trials of the whole search.
        console: Where to show it; standard error when absent.
    """

    def __init__(self, n_trials: int, console: Console | None = None) -> None:
        self.n_trials = n_trials
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("search"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("search", total=n_trials, state="")
        self._first: tuple[float, int] | None = None
        self._looked = -math.inf
        self._logged = 0

    def __enter__(self) -> SearchProgress:
        """Show the line."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the line as it is."""
        self._progress.stop()

    def update(self, study: RateStudy) -> None:
        """Look at a study again, unless that was a moment ago."""
        now = time.monotonic()
        if now - self._looked < _EVERY:
            return
        self._looked = now
        trials = study.trials()
        spent = study.counts(trials).spent
        if self._first is None:
            self._first = (now, spent)
        since, before = self._first
        records = completed([read_trial(trial) for trial in trials])
        state = " · ".join(
            [
                _best_text(best(records)),
                f"feasible {_share(records)}",
                f"left {_duration(now - since, spent - before, self.n_trials - spent)}",
            ]
        )
        self._progress.update(self._task, completed=spent, state=state)
        tenth = spent * _LOGGED // self.n_trials
        if not self._console.is_terminal and tenth > self._logged:
            self._logged = tenth
            log.info("%d of %d trials · %s", spent, self.n_trials, state)


def _best_text(found: TrialRecord | None) -> str:
    """The best objective so far."""
    return f"best {NOTHING if found is None else format(found.objective, '.4f')}"


def _share(records: Sequence[TrialRecord]) -> str:
    """Share of feasible trials."""
    if not records:
        return NOTHING
    return percent(sum(record.feasible for record in records) / len(records))


def _duration(seconds: float, done: int, left: int) -> str:
    """Remaining time at the pace so far."""
    if done <= 0:
        return NOTHING
    rest = round(seconds / done * left)
    return f"{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}"
