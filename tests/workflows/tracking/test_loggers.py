"""What Weights & Biases is told about a run of a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from secateur.workflows.sweep import SweepJob, sweep_job
from secateur.workflows.tracking.loggers import flat_numbers

CONF = Path(__file__).parents[3] / "conf"


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


def test_rates_are_flat_numbers() -> None:
    numbers = flat_numbers(composed("rate=0.3", "rates.g2=0.5"))
    assert numbers["rate"] == 0.3
    assert numbers["rates/g2"] == 0.5
    assert [numbers[f"rates/g{group}"] for group in (1, 3, 4, 5, 6)] == [0.3] * 5
    assert all(isinstance(value, float) for value in numbers.values())
    assert flat_numbers(composed("pruning=none")) == {}


def test_rates_of_a_file_are_numbers_too(tmp_path: Path) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text("rates: {g1: 0.25}\n")
    assert flat_numbers(composed(f"rates={path}"))["rates/g1"] == 0.25


def test_jobs_of_a_sweep_share_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = SweepJob(tmp_path / "sweep", 0), SweepJob(tmp_path / "sweep", 1)
    assert first.group == second.group
    assert first.group.startswith("sweep-")
    assert SweepJob(tmp_path / "other" / "sweep", 0).group != first.group
    monkeypatch.chdir(tmp_path)
    assert SweepJob(Path("sweep"), 0).group == first.group
    assert sweep_job() is None
