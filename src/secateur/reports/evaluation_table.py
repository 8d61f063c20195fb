"""Tables of evaluations: one alone, or two side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from secateur.reports import tables

_LISTED = 5


def evaluation_table(record: Mapping[str, Any], console: Console | None = None) -> None:
    """Print average precision per setting.

    Args:
        record: As ``evaluation.json`` holds it.
        console: Where to print; standard output when absent.
    """
    rows = [
        [
            f"AP {name}",
            tables.precision(result["ap"]),
            tables.count(result["faces"]),
            tables.count(result["pictures"]),
        ]
        for name, result in record["settings"].items()
    ]
    console = console or Console()
    columns = ["", "AP", "faces", "pictures"]
    tables.print_table(_title(record), columns, rows, console=console)
    for remark in remarks(record):
        console.print(f"  {remark}", highlight=False)


def remarks(record: Mapping[str, Any]) -> list[str]:
    """What a reader must know beside the figures: sizes, time, and what is missing."""
    get = record.get
    said = []
    if get("parameters"):
        text = f"{tables.count(get('parameters'))} parameters"
        if get("sparsity", 0) >= 0.001:
            text += f", {tables.percent(get('sparsity'))} of them zero"
        said.append(text)
    if get("seconds_per_picture") is not None:
        said.append(f"{tables.milliseconds(1e3 * record['seconds_per_picture'])} per picture")
    for key, what in (("missing", "without a prediction file"), ("unknown", "files left out")):
        names = get(key) or []
        if names:
            shown = ", ".join(names[:_LISTED]) + (" ..." if len(names) > _LISTED else "")
            said.append(f"{len(names):,} {what}: {shown}")
    if get("data") == "demo_faces":
        said.append("drawn faces: these figures say nothing about real pictures")
    return said


def comparison_table(
    first: Mapping[str, Any], second: Mapping[str, Any], console: Console | None = None
) -> None:
    """Print two evaluations side by side.

    Args:
        first: Record of the one.
        second: Record of the other.
        console: Where to print; standard output when absent.
    """
    console = console or Console()
    tables.print_table(
        "Side by side",
        ["", "A", "B", "B to A"],
        comparison_rows(first, second),
        console=console,
    )
    for letter, record in (("A", first), ("B", second)):
        console.print(f"  {letter}: {record['name']}  {record.get('path', '')}", highlight=False)
    for difference in differences(first, second):
        console.print(f"  {difference}", highlight=False)


def comparison_rows(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[list[str]]:
    """Rows of four cells: quantity, first, second, second against first."""
    rows = []
    for name in dict.fromkeys([*first["ap"], *second["ap"]]):
        a, b = first["ap"].get(name), second["ap"].get(name)
        moved = tables.NOTHING if a is None or b is None else f"{b - a:+.4f}"
        rows.append([f"AP {name}", tables.precision(a), tables.precision(b), moved])
    for key, what in (("parameters", "parameters"), ("nonzero_parameters", "non-zero parameters")):
        a, b = first.get(key), second.get(key)
        rows.append([what, tables.count(a), tables.count(b), tables.change(b, a)])
    a, b = (
        None if record.get("seconds_per_picture") is None else 1e3 * record["seconds_per_picture"]
        for record in (first, second)
    )
    rows.append(
        ["time per picture", tables.milliseconds(a), tables.milliseconds(b), tables.change(b, a)]
    )
    return rows


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Why two evaluations cannot be compared as they are."""
    said = []
    if first.get("pictures") != second.get("pictures"):
        said.append(
            f"not the same pictures: {first.get('coverage')} against {second.get('coverage')}"
        )
    protocols = [(record.get("protocol") or {}).get("name") for record in (first, second)]
    if protocols[0] != protocols[1]:
        said.append(f"not the same protocol: {protocols[0]} against {protocols[1]}")
    return said


def _title(record: Mapping[str, Any]) -> str:
    protocol = (record.get("protocol") or {}).get("name")
    return " · ".join(str(part) for part in (record["name"], protocol, record["data"]) if part)
