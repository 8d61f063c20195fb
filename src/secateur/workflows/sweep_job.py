"""Which job of which sweep this process runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode


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
