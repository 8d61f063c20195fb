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
