"""Results of benchmarks: rows kept one JSON object a line, and tables in ``benchmarks/README.md``.

An interrupted run goes on from its rows; a table is replaced by a new one and the rest of the page
left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
README = Path(__file__).parent / "README.md"


def read_rows(path: Path) -> list[Row]:
    """What was measured so far; nothing without a file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def add_rows(path: Path, rows: Iterable[Row]) -> None:
    """Append rows to a file, which is made if need be."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are set to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_section(title: str, content: str, path: Path = README) -> None:
    """Replace the section of that title, or add it at the end.

    Args:
        title: Text of a second-level heading.
        content: Markdown below the heading.
        path: The file.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else "# Benchmarks\n"
    section = f"## {title}\n\n{content.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(text):
        text = pattern.sub(lambda _: section + "\n", text)
    else:
        text = f"{text.rstrip()}\n\n{section}"
    path.write_text(text.rstrip() + "\n", encoding="utf-8")
