"""Progress: a bar on a terminal; in a log, where a bar would leave nothing, a line now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from secateur.reports.tables import NOTHING

SECONDS = 30.0
"""After so many seconds a log has its next line."""

PARTS = 10
"""Or after this part of the whole, which is sooner where all takes less than five minutes."""

_SHORTEST = 2.0  # seconds between two lines: what is done in a moment needs one line in all

log = logging.getLogger(__name__)


def shows_bar(console: Console | None = None) -> bool:
    """Whether a bar can be kept up to date where the output goes.

    Args:
        console: Where it would be shown; standard output when absent.
    """
    console = console or Console()
    return console.is_terminal or console.is_jupyter


class ProgressLines:
    """Lines of a log that say how far something is.

    Args:
        title: What is being done.
        say: Takes a line.
        clock: Seconds, from any beginning.
        parts: Of how many parts of the whole each has a line, however soon it is done.
    """

    def __init__(
        self,
        title: str,
        say: Callable[[str], None] = log.info,
        clock: Callable[[], float] = time.monotonic,
        parts: int = PARTS,
    ) -> None:
        self.title, self.parts = title, parts
        self._say, self._clock = say, clock
        self._began = self._last = clock()
        self._told = 0
        self._pace = Pace(clock)

    def update(self, done: int, total: int | None, state: str = "") -> None:
        """Say how far it is, if the last line is old or a tenth was done since, or at the end.

        Args:
            done: Steps so far.
            total: Steps in all; None where nobody knows.
            state: What else is to be said, such as the loss.
        """
        self._pace.update(done)
        if done == self._told:
            return
        now = self._clock()
        parts = set() if total is None else {n * self.parts // total for n in (done, self._told)}
        due = now - self._last >= SECONDS or (len(parts) > 1 and now - self._last >= _SHORTEST)
        ended = total is not None and done >= total
        if not due and not ended:
            return
        self._last, self._told = now, done
        count = f"{done:,}" if total is None else f"{done:,} of {total:,}"
        times = f"{duration(now - self._began)}"
        if total is not None and not ended:
            times += f", left {self._pace.left(total)}"
        self._say(" · ".join(part for part in (f"{self.title} {count}", state, times) if part))


class Progress:
    """How far a loop is: a bar on a terminal, `ProgressLines` in a log; a context manager.

    Args:
        title: What is being done.
        total: Steps in all; None where nobody knows.
        shown: False shows nothing.
        console: Where a bar goes; standard output when absent.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        *,
        shown: bool = True,
        console: Console | None = None,
    ) -> None:
        self.done, self.total = 0, total
        self._pace = Pace()
        has_bar = shows_bar(console)
        self._lines = ProgressLines(title) if shown and not has_bar else None
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("left {task.fields[left]}"),
            console=console,
            disable=not (shown and has_bar),
        )
        self._task = self._bar.add_task(title, total=total, state="", left=NOTHING)

    def __enter__(self) -> Self:
        """Show it."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave it as it is."""
        self._bar.stop()

    def advance(self, steps: int = 1, state: str = "") -> None:
        """Some more steps are done."""
        self.update(self.done + steps, state)

    def update(self, done: int, state: str = "") -> None:
        """So many steps are done in all."""
        self.done = done
        self._pace.update(done)
        if self._lines is not None:
            self._lines.update(done, self.total, state)
        left = NOTHING if self.total is None else self._pace.left(self.total)
        self._bar.update(self._task, completed=done, state=state, left=left)


class Pace:
    """Remaining time, at the pace since the first look: what an earlier process did is no pace.

    Args:
        clock: Seconds, from any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None
        self._done, self._now = 0, 0.0

    def update(self, done: int) -> None:
        """So many steps are done."""
        self._done, self._now = done, self._clock()
        if self._first is None:
            self._first = (self._now, done)

    def left(self, total: int) -> str:
        """Remaining time to the end, as text."""
        since, before = self._first or (0.0, 0)
        if self._done <= before:
            return NOTHING
        return duration((self._now - since) / (self._done - before) * (total - self._done))


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss.

    >>> duration(3725.2)
    '1:02:05'
    """
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
