from __future__ import annotations

import io

from rich.console import Console

from secateur.reports import tables


def test_a_table_holds_its_cells() -> None:
    out = io.StringIO()
    tables.print_table(
        "title",
        ["a", "b"],
        [["x", "1"], ["y", "22"]],
        caption="note",
        sections=[0],
        console=Console(file=out, width=40),
    )
    words = out.getvalue().split()
    assert [w for w in words if w.isalnum()] == ["title", "a", "b", "x", "1", "y", "22", "note"]


def test_a_table_in_a_file_is_as_wide_as_its_cells() -> None:
    out = io.StringIO()
    heads = [letter * 30 for letter in "abcd"]
    tables.print_table("t", heads, [["1", "2", "3", "4"]], console=Console(file=out, width=80))
    assert [word for word in out.getvalue().split() if len(word) == 30] == heads


def test_a_title_longer_than_its_table_stays_in_one_line() -> None:
    for is_terminal in (False, True):
        out = io.StringIO()
        console = Console(file=out, width=60, force_terminal=is_terminal, color_system=None)
        title, caption = "a title of more words than columns", "and a caption of yet more words"
        tables.print_table(title, ["a"], [["1"]], caption=caption, console=console)
        lines = [line.strip() for line in out.getvalue().splitlines()]
        assert (lines[0], lines[-1]) == (title, caption)


def test_one_thing_is_not_told_as_several() -> None:
    told = [tables.counted(n, "picture") for n in (0, 1, 2, 1234)]
    assert told == ["0 pictures", "1 picture", "2 pictures", "1,234 pictures"]


def test_numbers_as_people_read_them() -> None:
    assert tables.count(92208) == "92,208"
    assert tables.mega(393_216_000) == "393.2 M"
    assert tables.percent(0.3159) == "31.6 %"
    assert tables.precision(0.89497) == "0.8950"
    assert [tables.milliseconds(v) for v in (0.01234, 9.876, 123.44)] == [
        "0.0123 ms",
        "9.88 ms",
        "123.4 ms",
    ]
    assert tables.change(70, 100) == "-30.0 %"
    for form in (tables.count, tables.mega, tables.percent, tables.precision, tables.milliseconds):
        assert form(None) == tables.NOTHING
    assert tables.change(None, 1) == tables.change(1, 0) == tables.NOTHING
