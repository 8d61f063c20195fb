"""Memory that a process takes."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_memory_mb() -> float:
    """Largest memory that this process has held, in MB.

    On Linux it is read from ``/proc``: ``ru_maxrss`` of a new process begins with the memory of the
    one that started it (getrusage(2) keeps it over execve).
    """
    status = Path("/proc/self/status")
    if status.is_file() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024  # of bytes there, of kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
