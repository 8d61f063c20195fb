"""Identity of a process: the name that marks its trials, and whether it still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """Name of this process that no later one will have: machine, process, time of its start."""
    return f"{_machine()}|{os.getpid()}|{_started(os.getpid())}"


def is_dead(process: str) -> bool | None:
    """Whether the process of that name has ended; None when it belongs to another machine."""
    machine, process, started = process.split("|")
    if machine != _machine():
        return None
    now = _started(int(process))
    return now is None or str(now) != started


def _machine() -> str:
    """Host, and on Linux the process namespace, since containers may share a host name."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{namespace.stat().st_ino if namespace.exists() else 0}"


def _started(process: int) -> str | None:
    """When a process started, in ticks since boot (0 where unknown); None if it has ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    status = Path(f"/proc/{process}/stat")
    if not status.exists():
        return "0"
    try:
        fields = status.read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]  # a zombie works no more
