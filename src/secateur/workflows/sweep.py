"""Sweeps: the number of this job in its sweep, and the device that it gets."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from multiprocessing import current_process
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf


@dataclass(frozen=True, slots=True)
class SweepJob:
    """A job of a Hydra multirun, by whatever sweeper and launcher.

    Attributes:
        folder: Folder of the whole sweep.
        number: Number of the job in it; a continued sweep gives a job its number again.
    """

    folder: Path
    number: int

    @property
    def group(self) -> str:
        """Name of the sweep, the same in all its jobs and on every machine that sees its folder."""
        mark = hashlib.sha256(str(self.folder.absolute()).encode()).hexdigest()[:6]
        return f"{self.folder.name}-{mark}"


def sweep_job() -> SweepJob | None:
    """The job that this process runs, or None outside a sweep."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    hydra = HydraConfig.get()
    subdir = str(hydra.sweep.subdir)
    # the folder's name is the trial's number where a sweeper counts jobs in another way
    number = int(subdir) if subdir.isdecimal() else int(hydra.job.num)
    return SweepJob(Path(str(hydra.sweep.dir)), number)


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
