"""Runs of a sweep spread over the GPUs of a machine."""

from __future__ import annotations

import os
import time
from multiprocessing import current_process
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from omegaconf import OmegaConf

from secateur.workflows import sweep as device_choice
from secateur.workflows.sweep import claim_device, process_number

ROOT = Path(__file__).parents[2]


def claim(
    monkeypatch: pytest.MonkeyPatch,
    launcher: str,
    number: int = 0,
    process: str = "MainProcess",
    visible: str = "0,1,2",
    devices: int = 1,
) -> str:
    """What is visible to a job after it claimed a device."""
    hydra: dict[str, Any] = {
        "mode": RunMode.MULTIRUN,
        "launcher": {"_target_": f"somewhere.{launcher}"},
        "job": SimpleNamespace(num=number),
    }
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: SimpleNamespace(**hydra)))
    monkeypatch.setattr(device_choice, "current_process", lambda: SimpleNamespace(name=process))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    claim_device(OmegaConf.create({"trainer": {"devices": devices}}))
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_local_takes_the_number_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [claim(monkeypatch, "LocalLauncher", number) for number in range(4)]
    assert found == ["0", "1", "2", "0"]
    assert claim(monkeypatch, "LocalLauncher", 1, visible="4, 7") == "7"


def test_joblib_takes_the_number_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert claim(monkeypatch, "JoblibLauncher", 5, "LokyProcess-2") == "1"
    assert claim(monkeypatch, "JoblibLauncher", 6, "LokyProcess-2", visible="1") == "1"


def process_name() -> str:
    time.sleep(0.5)  # so that one process does not take every call
    return current_process().name


@pytest.mark.slow
def test_joblib_numbers_its_processes() -> None:
    names = set(Parallel(n_jobs=2)(delayed(process_name)() for _ in range(4)))
    assert {process_number(name) % 2 for name in names} == {0, 1}


def test_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert claim(monkeypatch, "SlurmLauncher", 1) == "0,1,2"
    assert claim(monkeypatch, "BasicLauncher", 1) == "0,1,2"
    assert claim(monkeypatch, "LocalLauncher", 1, devices=2) == "0,1,2"
    assert claim(monkeypatch, "LocalLauncher", 1, visible="") == ""


@pytest.mark.parametrize("launcher", ["slurm", "local", "joblib"])
@pytest.mark.parametrize("command", ["train", "search", "evaluate"])
def test_launchers_compose(launcher: str, command: str) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose(command, [f"hydra/launcher={launcher}"], return_hydra_config=True)
    node = config.hydra.launcher
    assert str(node["_target_"]).endswith("Launcher")
    if launcher == "slurm":
        assert node.tasks_per_node == 1
        assert node.max_num_timeout > 0


def test_slurm_gives_every_device_a_task() -> None:
    overrides = ["hydra/launcher=slurm", "trainer.devices=4"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides, return_hydra_config=True)
    assert config.hydra.launcher.tasks_per_node == 4
