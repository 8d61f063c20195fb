"""Allocator: large blocks come back without page faults, and nothing happens elsewhere."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from secateur.runtime import allocator

GLIBC = sys.platform.startswith("linux") and platform.libc_ver()[0] == "glibc"
# 36 MiB is more than glibc keeps by default. The first rounds make room between small blocks.
COUNT_FAULTS = """
import resource
import numpy
from secateur.deploy.allocator import keep_large_blocks
{call}
def use():
    for _ in range(10):
        numpy.ones(9 * 2**20, numpy.float32)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(call: str) -> int:
    result = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS.format(call=call)],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(result.stdout)


@pytest.mark.skipif(not GLIBC, reason="the allocator of another C library is left alone")
def test_large_blocks_are_kept() -> None:
    assert page_faults("assert keep_large_blocks()") < page_faults("") / 10


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "win32")
    assert not allocator.keep_large_blocks()
