"""Loading processes: how many fit into shared memory, and how long one may take."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from secateur.datamodules import loading
from secateur.errors import InputError, machine_sentence

MB = 10**6


@pytest.mark.parametrize(("batch", "fitting"), [(1 * MB, 4), (10 * MB, 2), (30 * MB, 0)])
def test_no_more_processes_than_shared_memory_has_room_for(
    batch: int,
    fitting: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    docker = SimpleNamespace(f_bavail=64 * MB // 4096, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: docker)
    with caplog.at_level(logging.WARNING):
        assert loading.workers_that_fit(4, batch, tmp_path) == fitting
    assert bool(caplog.records) == (fitting < 4)
    if caplog.records:
        assert f"{fitting} instead of 4 processes" in caplog.text
        assert "--shm-size" in caplog.text


def test_a_system_without_shared_memory_is_taken_as_it_is(tmp_path: Path) -> None:
    assert loading.workers_that_fit(4, MB, tmp_path / "absent") == 4


class Hanging(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(60)
        return torch.zeros(1)


def test_a_loader_that_hangs_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "TIMEOUT", 1.0)
    settings = {**loading.loader_settings(1, 8), "persistent_workers": False}
    with pytest.raises(RuntimeError) as caught:
        next(iter(DataLoader(Hanging(), **settings)))
    assert "no picture came for ten minutes" in str(machine_sentence(caught.value))


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(InputError, match=r"data.batch_size must be at least 1, got 0"):
        loading.checked_workers(0, 1, 1)
    with pytest.raises(InputError, match=r"data.num_workers must be at least 0, got -1"):
        loading.checked_workers(1, 1, -1)
