"""A task without any training, for sweeps that take no time."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import optuna
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from optuna.trial import Trial

from secateur.search.study import open_storage


def job_folder() -> Path:
    return Path(HydraConfig.get().runtime.output_dir)


def task(config: DictConfig) -> Any:
    """A parabola, with every fault that a real task may have."""
    folder = job_folder()
    with (folder / "starts").open("a") as file:
        file.write("started\n")
    values = OmegaConf.to_container(config)
    (folder / "config.json").write_text(json.dumps(values))
    once = (folder / "starts").read_text().count("started") == 1
    number = int(config.trial.number) if config.trial else -1
    if config.fault == "not a number" and number % 3 == 1:
        return float("nan")
    if config.fault == "none" and number % 3 == 1:
        return None
    if config.fault == "raise" and number % 3 == 1:
        raise RuntimeError("this one fails")
    if config.fault == "killed" and number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if config.fault == "killed once" and number == 1 and once:
        os.kill(os.getpid(), signal.SIGKILL)
    if config.fault == "slow" and number < 2 and once:
        time.sleep(8)
    if config.fault == "stopped" and number == 2 and not (folder / "stopped").exists():
        (folder / "stopped").touch()
        raise KeyboardInterrupt
    if config.fault == "always stopped":
        raise KeyboardInterrupt
    if config.fault == "pruned" and number >= 2:
        study = optuna.load_study(
            study_name=config.trial.study, storage=open_storage(config.trial.storage)
        )
        assert study.trials[number].state == optuna.trial.TrialState.RUNNING
        raise optuna.TrialPruned
    score = -((config.x - 0.25) ** 2)
    return (score, abs(config.x)) if config.fault == "two" else score


def more(config: DictConfig, trial: Trial) -> None:
    """A search space that depends on itself."""
    if trial.suggest_categorical("kind", ["a", "b"]) == "b":
        trial.suggest_int("n", 2, 3 + int(config.n if "n" in config else 0))
