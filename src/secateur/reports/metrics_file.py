"""metrics.csv: one row per logged value, appended while a run goes on."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from secateur.files import append_lines, atomic_write
from secateur.readers import count_in, read_csv

log = logging.getLogger(__name__)

COLUMNS = ("epoch", "step", "name", "value")
_REMEDY = "delete it; it is a record, and the run goes on without it"


class MetricRow(NamedTuple):
    """One logged value.

    Attributes:
        epoch: From 0; None for what belongs to no epoch.
        step: Optimizer steps so far.
        name: Such as ``val/ap_hard``.
        value: The value, perhaps NaN.
    """

    epoch: int | None
    step: int
    name: str
    value: float


def start_metrics(path: Path, rows: Iterable[MetricRow] = ()) -> None:
    """Write a file with some rows, in place of any other.

    Args:
        path: The file.
        rows: What it begins with.

    Raises:
        WriteError: If it cannot be written.
    """
    atomic_write(path, _text([COLUMNS]) + _text(map(_fields, rows)))


def append_metrics(path: Path, rows: Iterable[MetricRow]) -> None:
    """Append rows, all or none.

    Args:
        path: A file that `start_metrics` wrote.
        rows: What to append.

    Raises:
        WriteError: If the disk is full or the like.
    """
    append_lines(path, _text(map(_fields, rows)).encode())


def read_metrics(path: Path) -> list[MetricRow]:
    """Read all rows; one that is torn or damaged is left out, with a warning.

    Args:
        path: The file.

    Raises:
        InputError: If it is missing or no CSV.
    """
    rows: list[MetricRow] = []
    damaged: list[int] = []
    for number, fields in read_csv(path, _REMEDY):
        if number == 1 and tuple(fields) == COLUMNS:
            continue
        row = _row(fields)
        if row is None:
            damaged.append(number)
        else:
            rows.append(row)
    if damaged:
        log.warning("%s, line %d: damaged rows (%d) are left out", path, damaged[0], len(damaged))
    return rows


def read_curves(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Read logged values with their epochs.

    Args:
        path: The file; where there is none, there are no curves.

    Returns:
        Epochs and values of each name; rows without an epoch or a finite value are passed
            over.

    Raises:
        InputError: If it is no CSV.
    """
    curves: dict[str, tuple[list[float], list[float]]] = {}
    if path.is_file():
        for row in read_metrics(path):
            # A page holds plain numbers only, and nothing draws what is none.
            if row.epoch is not None and math.isfinite(row.value):
                epochs, values = curves.setdefault(row.name, ([], []))
                epochs.append(float(row.epoch))
                values.append(row.value)
    return curves


def _row(fields: list[str]) -> MetricRow | None:
    """A row, or None if the fields are none."""
    if len(fields) != len(COLUMNS) or not fields[2].isprintable() or len(fields[3]) > 40:
        return None
    epoch, step = count_in(fields[0]), count_in(fields[1])
    try:
        value = float(fields[3])
    except ValueError:
        return None
    if step is None or (epoch is None and fields[0] != ""):
        return None
    return MetricRow(epoch, step, fields[2], value)


def _fields(row: MetricRow) -> tuple[str, str, str, str]:
    epoch = "" if row.epoch is None else str(row.epoch)
    return epoch, str(row.step), row.name, repr(row.value)


def _text(rows: Iterable[Iterable[str]]) -> str:
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    return table.getvalue()
