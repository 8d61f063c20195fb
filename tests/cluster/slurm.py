"""What tests ask of the Slurm that ``tests/cluster/run.sh`` starts, and of run folders on it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from secateur.reports.metrics_file import read_metrics
from secateur.reports.tables import print_table

ROOT = Path(__file__).parents[2]
WHOLE = ("config.yaml", "summary.json", "metrics.csv", "model.safetensors", "model.json")


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """A job of a sweep.

    Attributes:
        id: Its id, ``ARRAY_INDEX`` or a number.
        restarts: How often Slurm started it again.
        state: Its state now.
    """

    id: str
    restarts: int
    state: str


def scontrol(*words: str) -> str:
    """Output of scontrol."""
    return subprocess.run(["scontrol", *words], check=True, capture_output=True, text=True).stdout


def show(job: str) -> SlurmJob:
    """What Slurm says about a job, also about one that is over."""
    text = scontrol("show", "job", job, "--oneliner")
    fields = dict(re.findall(r"(\S+?)=(\S*)", text))
    return SlurmJob(job, int(fields["Restarts"]), fields["JobState"])


def jobs_in(sweep: Path) -> list[str]:
    """Ids of the jobs of a sweep, in the order in which they were submitted."""
    # an array has a folder of its own besides, with nothing but the script that was submitted
    names = {path.parent.name for path in (sweep / ".submitit").glob("*/*_submitted.pkl")}
    found = [name for name in names if re.fullmatch(r"\d+(_\d+)?", name)]
    return sorted(found, key=lambda name: [*map(int, name.split("_"))])


def job_log(sweep: Path, job: str) -> str:
    """All that the starts of a job wrote."""
    return _written(sweep, job, "*.err")


def starts(sweep: Path, job: str) -> int:
    """How often the training of a job was started."""
    return _written(sweep, job, "*_0_log.out").count("Starting with")


def _written(sweep: Path, job: str, pattern: str) -> str:
    return "".join(path.read_text() for path in sorted((sweep / ".submitit" / job).glob(pattern)))


def kill_task(job: str) -> None:
    """Kill the training of a job, not the shell around it."""
    lines = [line.split() for line in scontrol("listpids", show_raw_id(job)).splitlines()[1:]]
    tasks = [int(pid) for pid, _, step, local, _ in lines if step == "0" and local != "-"]
    assert len(tasks) == 1, lines
    os.kill(tasks[0], signal.SIGKILL)


def show_raw_id(job: str) -> str:
    """The id under which Slurm knows one task of an array."""
    found = re.search(r"JobId=(\d+)", scontrol("show", "job", job, "--oneliner"))
    assert found is not None
    return found.group(1)


def steps(folder: Path) -> int:
    """Training steps that a run has logged."""
    path = folder / "metrics.csv"
    if not path.exists():
        return 0
    return max((row.step for row in read_metrics(path)), default=-1) + 1


def epochs(folder: Path) -> int:
    """Epochs that a run has logged; every value of a step is there once."""
    rows = read_metrics(folder / "metrics.csv")
    seen = Counter((row.epoch, row.step, row.name) for row in rows)
    assert set(seen.values()) == {1}, [key for key, count in seen.items() if count > 1]
    return len({row.epoch for row in rows if row.epoch is not None})


def whole(folder: Path) -> bool:
    """Whether everything that a run leaves is there."""
    return all((folder / name).exists() for name in WHOLE)


def wait_for(holds: Callable[[], bool], process: subprocess.Popen[str], seconds: float) -> None:
    """Wait until something holds while a command runs."""
    end = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def training(sweep: Path, data: Path, *overrides: str) -> list[str]:
    """The command of a sweep of tiny trainings, each on one processor."""
    return [
        *(sys.executable, str(ROOT / "train.py"), "-m", "hydra/launcher=slurm", "trainer=cpu"),
        *("hydra.launcher.cpus_per_task=1", f"hydra.sweep.dir={sweep}"),
        *("trainer.enable_progress_bar=false", f"paths.data={data}"),
        *("data.n_val=2", "data.input_size=64", "data.batch_size=2", "data.num_workers=0"),
        "recover.pictures=4",
        *overrides,
    ]


def print_sweep(title: str, sweep: Path, folders: dict[str, int]) -> None:
    """Print every job of a sweep: its folder, starts and epochs.

    Args:
        title: Above the table.
        sweep: Folder of the sweep.
        folders: Job to the number of its run folder.
    """
    rows = []
    for job in jobs_in(sweep):
        continued = re.findall(
            r"continuing \S+ from last.ckpt, (\d+) epochs done", job_log(sweep, job)
        )
        folder = sweep / str(folders[job])
        shown = show(job)
        rows.append(
            [
                *(job, folder.name, shown.state, str(shown.restarts)),
                *(", ".join(continued) or "-", str(epochs(folder))),
            ]
        )
    names = ["job", "folder", "state", "restarts", "continued after epochs", "epochs"]
    print_table(title, names, rows)
