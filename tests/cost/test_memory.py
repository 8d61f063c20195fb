from __future__ import annotations

import subprocess
import sys

from secateur.cost.memory import peak_memory_mb


def test_memory_is_that_of_the_process_and_not_of_the_one_that_started_it() -> None:
    held = bytearray(200 << 20)
    held[::4096] = bytes(len(held[::4096]))
    code = "from secateur.cost.memory import peak_memory_mb as peak; print(peak())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert peak_memory_mb() > len(held) / 2**20
    assert 1 < float(child.stdout) < len(held) / 2**20
