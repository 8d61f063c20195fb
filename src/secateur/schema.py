"""Values that a file holds, checked for kind and range as they are taken."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from secateur.errors import InputError

Plain = dict[str, Any] | list[Any] | str | int | float | bool | None
"""What JSON and YAML hold."""


def check_version(values: Mapping[str, object], version: int, source: str, remedy: str) -> None:
    """Refuse a file of another version of its format.

    Args:
        values: What the file holds.
        version: The version that is understood.
        source: What to call the file in the message.
        remedy: What to do about it; ends the sentence.

    Raises:
        InputError: If its ``version`` is another.
    """
    if (found := values.get("version")) != version:
        raise InputError(
            f"{source} has version {found!r} of the format and this program reads {version}: "
            f"{remedy}"
        )


class Fields:
    """A mapping of a file; what is taken from it is what it has to be, or refused with its key.

    Args:
        value: What was read.
        path: The file.
        remedy: What to do about a wrong value; ends the sentence.
        key: Where in the file it is; empty for the whole file.

    Raises:
        InputError: If it is no mapping.
    """

    def __init__(self, value: object, path: str | Path, remedy: str, key: str = "") -> None:
        self.values = mapping_in(value, path, remedy, key or "it")
        self.path = path
        self.remedy = remedy
        self.key = key

    def where(self, name: str) -> str:
        """The full key of a value."""
        return f"{self.key}.{name}" if self.key else name

    def check(self, fits: bool, name: str, wanted: str) -> None:
        """Refuse a value that is not what it has to be."""
        expect(fits, self.path, self.where(name), wanted, self.values.get(name), self.remedy)

    def text(self, name: str, longest: int = 4096) -> str:
        """A text of one line."""
        value = self.values.get(name)
        fits = isinstance(value, str) and value.isprintable() and len(value) <= longest
        self.check(fits, name, "a text")
        return str(value)

    def count(self, name: str, low: int = 0, high: int = 1 << 53) -> int:
        """A whole number in ``[low, high]``."""
        value = self.values.get(name)
        self.check(is_count(value, low, high), name, f"a whole number from {low} to {high:,}")
        assert isinstance(value, int)
        return value

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number in ``[low, high]``."""
        value = self.values.get(name)
        bounds = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"
        self.check(is_number(value, low, high), name, f"a number{bounds}")
        assert isinstance(value, int | float)
        return float(value)

    def items(self, name: str) -> list[Any]:
        """A list of anything."""
        value = self.values.get(name)
        self.check(isinstance(value, list), name, "a list")
        assert isinstance(value, list)
        return value

    def fields(self, name: str) -> Fields:
        """A mapping within this one."""
        return Fields(self.values.get(name), self.path, self.remedy, self.where(name))

    def rows(self, name: str) -> list[Fields]:
        """A list of mappings."""
        return [
            Fields(row, self.path, self.remedy, f"{self.where(name)}[{number}]")
            for number, row in enumerate(self.items(name))
        ]


def expect(fits: bool, path: str | Path, key: str, wanted: str, got: object, remedy: str) -> None:
    """Refuse a value of a file that is not what it has to be.

    Args:
        fits: Whether it is.
        path: The file.
        key: Where in the file.
        wanted: What it has to be.
        got: What it is.
        remedy: Ends the sentence.

    Raises:
        InputError: If it does not fit.
    """
    if not fits:
        raise InputError(f"{path}: {key} must be {wanted}, got {shown(got)}; {remedy}")


def mapping_in(value: object, path: str | Path, remedy: str, key: str = "it") -> dict[str, Any]:
    """The value as a mapping from text.

    Raises:
        InputError: If it is something else.
    """
    expect(isinstance(value, Mapping), path, key, "a mapping", value, remedy)
    assert isinstance(value, Mapping)
    return {str(name): item for name, item in value.items()}


def shown(value: object) -> str:
    """A value in a message, not longer than a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_LARGEST = sys.float_info.max


def is_number(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether a value is a finite number in ``[low, high]``; a bool is none."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= _LARGEST  # of an integer with more digits there is no float
        and low <= value <= high
    )


def is_count(value: object, low: int = 0, high: int = 1 << 53) -> bool:
    """Whether a value is a whole number in ``[low, high]``; a bool is none."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def walk(value: Plain, visit: Callable[[str, object], None], key: str = "") -> None:
    """Visit every key of nested plain values, with its path such as ``data.boxes[0].x``."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            path = f"{key}.{name}" if key else str(name)
            visit(path, item)
            walk(item, visit, path)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            visit(f"{key}[{number}]", item)
            walk(item, visit, f"{key}[{number}]")
