"""Locks between processes."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from secateur.workflows.run_folder import locked


def hold(path: Path, held: Event) -> None:
    with locked(path, busy=lambda: None):
        held.set()
        time.sleep(60)


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    other = context.Process(target=hold, args=(tmp_path / "lock", held))
    other.start()
    assert held.wait(timeout=60)
    assert other.pid is not None
    pid = other.pid
    found: list[str] = []

    def busy() -> None:
        found.append("busy")
        os.kill(pid, signal.SIGKILL)

    with locked(tmp_path / "lock", busy=busy):
        found.append("ours")
    other.join(timeout=10)
    assert found == ["busy", "ours"]


def test_busy_may_refuse(tmp_path: Path) -> None:
    def refuse() -> None:
        raise ValueError("taken")

    lock = locked(tmp_path / "lock", busy=refuse)
    with lock, pytest.raises(ValueError, match="taken"), locked(tmp_path / "lock", busy=refuse):
        pass
    with locked(tmp_path / "lock", busy=refuse):
        pass


def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "lock", busy=lambda: None):
        assert "no locks" in caplog.text
