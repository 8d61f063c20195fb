"""Tables for the terminal, and the numbers in them as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

NOTHING = "–"  # noqa: RUF001 (an en dash for what was not measured)
_LONGEST = 10_000  # characters; no table is as wide


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str | None = None,
    sections: Sequence[int] = (),
    console: Console | None = None,
) -> None:
    """Print a table: first column to the left, the others to the right.

    Args:
        title: What the table shows.
        columns: Column heads.
        rows: Cells as text, as many in each row as there are columns.
        caption: A remark under the table.
        sections: Indices of the rows that a line follows.
        console: Where to print; standard output when absent.
    """
    table = Table(box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    for i, row in enumerate(rows):
        table.add_row(*row, end_section=i in sections)
    console = console or Console()
    if not console.is_terminal:  # a file has no width that a table could exceed
        unbounded = console.options.update(max_width=_LONGEST)
        console.width = max(console.width, console.measure(table, options=unbounded).maximum)
    # beside the table, not parts of it: it would break them at its own width
    whole = not console.is_terminal
    console.print(Text(title, style="bold"), soft_wrap=whole)
    console.print(table)
    if caption is not None:
        console.print(Text(caption, style="italic dim"), soft_wrap=whole)


def counted(number: int, thing: str) -> str:
    """Write a number with what it counts.

    Args:
        number: How many.
        thing: One of them; several take an s.

    Examples:
        >>> counted(1, "face"), counted(2000, "face")
        ('1 face', '2,000 faces')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def count(value: float | None) -> str:
    """Write a whole number with separators: 92,208."""
    return NOTHING if value is None else f"{value:,.0f}"


def mega(value: float | None) -> str:
    """Write millions: 393.2 M."""
    return NOTHING if value is None else f"{value / 1e6:,.1f} M"


def percent(value: float | None) -> str:
    """Write a fraction as a percentage: 0.316 is 31.6 %."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def precision(value: float | None) -> str:
    """Write an average precision or another figure in 0..1 to the fourth decimal."""
    return NOTHING if value is None else f"{value:.4f}"


def milliseconds(value: float | None) -> str:
    """Write a time: 12.3 ms."""
    return NOTHING if value is None else f"{value:.3g} ms" if value < 10 else f"{value:.1f} ms"


def change(value: float | None, start: float | None) -> str:
    """Write how far a value is from where it started: -30.2 %."""
    if value is None or not start:
        return NOTHING
    return f"{100 * (value / start - 1):+.1f} %"
