"""Progress of a search: best value, feasible share, remaining time."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from rich.console import Console

from secateur.reports.progress import Progress
from secateur.reports.tables import NOTHING, percent
from secateur.search.records import TrialRecord, best, completed, read_trial
from secateur.search.study import RateStudy

_EVERY = 0.5  # seconds between looks at the study


class SearchProgress(Progress):
    """How far a study is, told on standard error.

    Args:
        n_trials: Trials of the whole search.
        console: Where to show it; standard error when absent.
    """

    def __init__(self, n_trials: int, console: Console | None = None) -> None:
        super().__init__("search", n_trials, console=console or Console(stderr=True))
        self._looked = -math.inf

    def look(self, study: RateStudy) -> None:
        """Look at a study again, unless that was a moment ago."""
        now = time.monotonic()
        if now - self._looked < _EVERY:
            return
        self._looked = now
        trials = study.trials()
        records = completed([read_trial(trial) for trial in trials])
        state = f"{_best_text(best(records))} · feasible {_share(records)}"
        self.update(study.counts(trials).spent, state)


def _best_text(found: TrialRecord | None) -> str:
    """The best objective so far."""
    return f"best {NOTHING if found is None else format(found.objective, '.4f')}"


def _share(records: Sequence[TrialRecord]) -> str:
    """Share of feasible trials."""
    if not records:
        return NOTHING
    return percent(sum(record.feasible for record in records) / len(records))
