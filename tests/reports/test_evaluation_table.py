"""Tables of evaluations: what stands in them and what is said beside them."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from secateur.reports.evaluation_table import (
    comparison_rows,
    comparison_table,
    differences,
    evaluation_table,
    remarks,
)


def make_record(**changes: Any) -> dict[str, Any]:
    record = {
        "name": "eresfd",
        "path": "somewhere",
        "data": "widerface",
        "coverage": "16 listed pictures, 0 others",
        "pictures": "abc",
        "protocol": {"name": "single"},
        "parameters": 92208,
        "nonzero_parameters": 61000,
        "sparsity": 0.3384,
        "seconds_per_picture": 0.05,
        "ap": {"hard": 0.5},
        "settings": {"hard": {"ap": 0.5, "faces": 178, "pictures": 16, "events": {}}},
        "missing": [],
    }
    return {**record, **changes}


def printed(function: Any, *records: dict[str, Any]) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        function(*records, console=console)
    return " ".join(capture.get().split())


def test_one_alone() -> None:
    shown = printed(evaluation_table, make_record())
    assert "eresfd · single · widerface" in shown
    assert "AP hard 0.5000 178 16" in shown
    assert "92,208 parameters, 33.8 % of them zero" in shown
    assert "50.0 ms per picture" in shown


def test_missing_files_are_listed() -> None:
    (said,) = remarks({"missing": [f"e/{i}.jpg" for i in range(7)], "unknown": []})
    assert said == "7 without a prediction file: e/0.jpg, e/1.jpg, e/2.jpg, e/3.jpg, e/4.jpg ..."


def test_side_by_side() -> None:
    other = make_record(name="slim", ap={"hard": 0.4, "easy": 0.9}, parameters=46104)
    assert comparison_rows(make_record(), other)[:3] == [
        ["AP hard", "0.5000", "0.4000", "-0.1000"],
        ["AP easy", "–", "0.9000", "–"],  # noqa: RUF001
        ["parameters", "92,208", "46,104", "-50.0 %"],
    ]
    assert "B: slim" in printed(comparison_table, make_record(), other)


def test_what_cannot_be_compared_is_said() -> None:
    assert differences(make_record(), make_record()) == []
    said = differences(make_record(), make_record(pictures="x", protocol={"name": "vga"}))
    assert "not the same pictures" in said[0]
    assert said[1] == "not the same protocol: single against vga"
