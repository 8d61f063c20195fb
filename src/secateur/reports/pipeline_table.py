"""The closing table of a recipe: all its steps side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from secateur.reports import tables

STEPS = ("pretrain", "search", "prune", "finetune")


def print_pipeline(
    records: Mapping[str, Mapping[str, Any]],
    how: Mapping[str, str],
    seconds: Mapping[str, float],
    monitor: str,
    title: str,
    console: Console | None = None,
) -> None:
    """Print one column per step, which fits a narrow terminal.

    Args:
        records: ``summary.json`` of each step, in their order.
        how: Per step ``run`` or ``skipped``.
        seconds: Per step the time that its result took.
        monitor: Name of the figure of quality to show, such as ``ap_hard``.
        title: What the table shows.
        console: Where to print; standard output when absent.
    """
    tables.print_table(
        title,
        ["", *STEPS],
        pipeline_rows(records, how, seconds, monitor),
        caption="seconds: what the result took when it was made",
        console=console,
    )


def pipeline_rows(
    records: Mapping[str, Mapping[str, Any]],
    how: Mapping[str, str],
    seconds: Mapping[str, float],
    monitor: str,
) -> list[list[str]]:
    """Build the rows: for arguments see `print_pipeline`.

    Returns:
        Rows of five cells: what it is, and its value after each step. A step whose place was taken
        by given weights has no values.
    """
    columns = []
    for name in STEPS:
        if name not in records:
            columns.append([*[tables.NOTHING] * 7, "given"])
            continue
        get = records[name].get
        quality = [get(f"{monitor}_start"), get(f"{monitor}_masked"), get(monitor)]
        if name == "pretrain":  # its result is the dense network
            quality = [get(monitor), None, None]
        if name == "finetune":  # begins with the masked network of the step before
            quality[0] = None
        columns.append(
            [
                *map(tables.precision, quality),
                tables.count(get("params_slim")),
                tables.mega(get("macs_slim")),
                tables.precision(get("best_objective")),
                f"{seconds[name]:,.1f}",
                how[name],
            ]
        )
    heads = [f"{monitor} dense", f"{monitor} masked", f"{monitor} slim"]
    heads += ["parameters", "MACs", "best objective", "seconds", "this time"]
    return [[head, *cells] for head, *cells in zip(heads, *columns, strict=True)]
