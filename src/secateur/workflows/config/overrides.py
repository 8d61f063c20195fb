"""Overrides as text: what a person can paste behind a command."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[\w./:@%+-]+")


def override(key: str, value: str) -> str:
    """An override that Hydra reads back as the same text.

    Args:
        key: Key of the configuration.
        value: Any text without line breaks.

    Example:
        >>> override("weights", "a/b.pth")
        'weights=a/b.pth'
        >>> override("data.root", "/my data/WIDER")
        "data.root='/my data/WIDER'"
    """
    if _PLAIN.fullmatch(value):
        return f"{key}={value}"
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"
