from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from secateur.reports.progress import Pace, Progress, ProgressLines, shows_bar


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def told(total: int | None, seconds: float, steps: int, parts: int = 10) -> list[str]:
    """Lines about steps of so many seconds each."""
    clock, said = Clock(), list[str]()
    lines = ProgressLines("pruning", said.append, clock, parts)
    for step in range(steps):
        clock.now += seconds
        lines.update(step + 1, total, f"loss {step}")
    return said


def test_long_steps_have_a_line_every_half_minute() -> None:
    assert len(told(total=1000, seconds=1, steps=95)) == 3
    assert len(told(total=1000, seconds=40, steps=5)) == 5


def test_what_is_done_within_half_a_minute_needs_no_line() -> None:
    assert told(total=30, seconds=0.9, steps=29, parts=1) == []
    assert len(told(total=30, seconds=4, steps=29, parts=1)) == 3


def test_steps_of_some_minutes_have_a_line_every_tenth() -> None:
    said = told(total=100, seconds=1, steps=100)
    assert len(said) == 10
    assert said[4] == "pruning 50 of 100 · loss 49 · 0:00:50, left 0:00:50"
    assert said[-1] == "pruning 100 of 100 · loss 99 · 0:01:40"


def test_what_is_done_in_a_moment_has_one_line() -> None:
    assert told(total=100, seconds=0.01, steps=100) == ["pruning 100 of 100 · loss 99 · 0:00:01"]


def test_without_an_end_a_line_every_half_minute() -> None:
    said = told(total=None, seconds=1, steps=70)
    assert said == ["pruning 30 · loss 29 · 0:00:30", "pruning 60 · loss 59 · 0:01:00"]


def test_the_end_is_told_once() -> None:
    clock, said = Clock(), list[str]()
    lines = ProgressLines("search", said.append, clock)
    lines.update(3, 3)
    clock.now = 100
    lines.update(3, 3)
    assert len(said) == 1


def test_what_was_done_before_is_no_pace() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.update(900)
    clock.now = 10
    pace.update(910)
    assert pace.left(1000) == "0:01:30"


def test_a_terminal_has_a_bar_and_a_file_has_lines(caplog: pytest.LogCaptureFixture) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100)
    file = Console(file=io.StringIO(), force_terminal=False)
    assert shows_bar(terminal)
    assert not shows_bar(file)
    for console in (terminal, file):
        with caplog.at_level(logging.INFO), Progress("sensitivity", 2, console=console) as shown:
            shown.advance(2, "seven groups")
    assert isinstance(terminal.file, io.StringIO)
    assert isinstance(file.file, io.StringIO)
    assert "seven groups" in terminal.file.getvalue()
    assert file.file.getvalue().strip() == ""
    assert caplog.messages == ["sensitivity 2 of 2 · seven groups · 0:00:00"]


def test_nothing_is_shown_where_it_is_not_wanted(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO), Progress("sensitivity", 2, shown=False) as shown:
        shown.advance(2)
    assert not caplog.messages
    assert capsys.readouterr().out.strip() == ""
