"""Runs of a sweep spread over the GPUs of a machine."""

from __future__ import annotations

import os
import subprocess
import sys
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
from secateur.workflows.command_line.arguments import with_sweep_folder
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


def folder_of(*arguments: str) -> str:
    (found,) = [a for a in with_sweep_folder("train", arguments) if a.startswith("hydra.sweep.dir")]
    return found.partition("=")[2]


def test_a_sweep_has_a_folder_of_its_overrides_wherever_it_runs() -> None:
    first = folder_of("-m", "rate=0.1,0.3", "model=eresfd")
    assert first.startswith("${paths.outputs}/multirun/train-rate-")
    elsewhere = ("hydra/launcher=slurm", "hydra.launcher.partition=a", "logger=wandb")
    assert folder_of("--multirun", "rate=0.1,0.3", *elsewhere, "model=eresfd") == first
    assert folder_of("-m", "rate=0.1,0.5", "model=eresfd") != first
    # the order numbers the jobs
    assert folder_of("-m", "rate=0.3,0.1", "model=eresfd") != first


@pytest.mark.parametrize(
    "arguments",
    [
        ["rate=0.1"],
        ["-m", "hydra.sweep.dir=here", "rate=0.1,0.3"],
        ["-m", "hydra/sweeper=optuna", "rate=interval(0,1)"],
        ["-m", "hparams_search=rates"],
        ["-m", "rate=0.1,0.3", "resume=never"],
    ],
)
def test_what_has_a_folder_already_keeps_it(arguments: list[str]) -> None:
    assert with_sweep_folder("train", arguments) == arguments


def test_a_job_may_name_its_files_after_another_value_of_the_sweep() -> None:
    overrides = ["model=yunet_n", "weights=dense/${model.name}.ckpt"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        assert compose("train", overrides).weights == "dense/yunet_n.ckpt"


@pytest.mark.slow
def test_the_same_command_finds_its_sweep_again_and_goes_on(tmp_path: Path) -> None:
    line = [sys.executable, str(ROOT / "train.py"), "-m", "rate=0.2,0.4", "trainer=cpu"]
    line += [f"phases.{name}_epochs=1" for name in ("dense", "prune", "finetune")]
    line += ["data.n_train=8", "data.n_val=2", "data.input_size=64", "data.batch_size=4"]
    line += ["data.num_workers=0", "trainer.enable_progress_bar=false"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    line += [f"paths.outputs={tmp_path}", f"data.root={tmp_path / 'faces'}"]

    def sweep() -> None:
        subprocess.run(line, check=True, cwd=tmp_path, env=environment, timeout=1500)

    sweep()
    (folder,) = (tmp_path / "multirun").iterdir()
    assert (folder / "comparison" / "comparison.html").is_file()
    done = (folder / "0" / "summary.json").stat().st_mtime_ns
    (folder / "1" / "summary.json").unlink()  # as if the second job had been killed at its end
    sweep()
    assert (folder / "1" / "summary.json").is_file()
    assert (folder / "0" / "summary.json").stat().st_mtime_ns == done
    assert len(list((tmp_path / "multirun").iterdir())) == 1


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
