"""Rows that a benchmark keeps, one JSON object a line, so that an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """What was measured so far; nothing without a file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def add_rows(path: Path, rows: Iterable[Row]) -> None:
    """Append rows to a file, which is made if need be."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
