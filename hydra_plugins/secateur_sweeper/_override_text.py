"""Python values as Hydra overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def encode(value: object) -> str:
    """Write a value so that Hydra's override grammar reads the same one back.

    Args:
        value: A number, bool, None, string, or a list or mapping of such.

    Returns:
        Text for the right side of an override.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(encode(item) for item in value) + "]"
    return quote(str(value))


def quote(text: str) -> str:
    """Put text into single quotes by Hydra's rules.

    Backslashes are special only in front of a quote, also the closing one.
    """
    parts = text.split("'")
    escaped = []
    for part in parts:
        backslashes = len(part) - len(part.rstrip("\\"))
        escaped.append(part + "\\" * backslashes)
    return "'" + "\\'".join(escaped) + "'"
