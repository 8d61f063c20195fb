"""What Weights & Biases is told about a run of a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from pytorch_lightning.loggers import CSVLogger

from secateur.errors import InputError
from secateur.workflows.run_folder import RunFolder
from secateur.workflows.sweep import SweepJob, sweep_job
from secateur.workflows.tracking.loggers import flat_numbers, open_loggers

CONF = Path(__file__).parents[3] / "conf"


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


class Missing(CSVLogger):
    """A logger whose package is not there."""

    def __init__(self, save_dir: str) -> None:
        raise ModuleNotFoundError("`boards` is not available: try `pip install boards`.\nNot found")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (f"{__name__}.Missing", "`boards` is not available: try `pip install boards`."),
        ("no.such.Logger", "No module named 'no'"),
    ],
)
def test_a_logger_that_cannot_be_made_says_why(target: str, reason: str, tmp_path: Path) -> None:
    config = composed(f"+logger.mine._target_={target}")
    with (
        pytest.raises(InputError, match=r"logger\.mine cannot be made") as caught,
        open_loggers(config, RunFolder(tmp_path, None, finished=False), "run"),
    ):
        pass
    assert reason in str(caught.value)


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
