"""Which of several GPUs a run of a sweep takes."""

from __future__ import annotations

import os
import re
from multiprocessing import current_process

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

_VARIABLE = "CUDA_VISIBLE_DEVICES"


def claim_device(config: DictConfig) -> None:
    """Leave one GPU visible to a run of a sweep that shares the machine with others.

    Joblib keeps its processes, and CUDA in one of them cannot change its device, so that there
    every process has a GPU; with submitit's local launcher every run is a new process and the
    number of the job decides. Slurm gives out devices itself.

    Args:
        config: Composed configuration; a run that asks for several devices is left alone.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return
    launcher = str(HydraConfig.get().launcher["_target_"]).rpartition(".")[2]
    if launcher not in ("JoblibLauncher", "LocalLauncher"):
        return
    if OmegaConf.select(config, "trainer.devices") != 1:
        return
    devices = visible_devices()
    if len(devices) > 1:
        number = int(HydraConfig.get().job.num)
        if launcher == "JoblibLauncher":
            number = process_number(current_process().name)
        os.environ[_VARIABLE] = devices[number % len(devices)]


def visible_devices() -> list[str]:
    """Names of the GPUs that this process may use, found without starting CUDA."""
    if _VARIABLE in os.environ:
        return [name.strip() for name in os.environ[_VARIABLE].split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def process_number(name: str) -> int:
    """Number in the name of a joblib process, counted from 0: ``LokyProcess-3`` is 2."""
    found = re.search(r"\d+", name)
    return int(found.group()) - 1 if found else 0
