"""OpenCV prints lines of its own about what is said here, or about what nobody can change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_SILENT = 0


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Let OpenCV print nothing, where that can be set."""
    levels = getattr(cv2.utils, "logging", None)  # absent before OpenCV 5
    if levels is None:
        yield
        return
    before = int(levels.getLogLevel())
    levels.setLogLevel(_SILENT)
    try:
        yield
    finally:
        levels.setLogLevel(before)
