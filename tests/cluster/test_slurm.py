"""Sweeps on the Slurm that ``tests/cluster/run.sh`` starts."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.cluster.slurm import job_log, jobs_in, show
from tests.sweeper.test_study_sweeper import SPACE, states, sweep

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.cluster


def test_requeued_trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A job that is requeued in the middle starts again in its folder and loses nothing."""
    slurm = ("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.sweeper.n_jobs=2")
    requeued: list[str] = []

    def disturb() -> None:
        while not (tmp_path / "0" / "starts").exists():
            time.sleep(0.1)
        shown = subprocess.check_output(["squeue", "--noheader", "--format=%i", "--sort=i"])
        job = re.findall(r"\S+", shown.decode())[0]
        subprocess.run(["scontrol", "requeue", job], check=True)
        requeued.append(job)

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    settings = ("hydra.sweeper.n_trials=4", "fault=slow", "hydra.sweeper.max_failure_rate=0")
    found = sweep(monkeypatch, tmp_path, SPACE, *slurm, *settings)
    thread.join(timeout=5)
    assert requeued
    assert states(found) == [TrialState.COMPLETE] * 4
    counts = [(tmp_path / str(i) / "starts").read_text().count("started") for i in range(4)]
    assert counts[0] == 2 or counts[1] == 2
    assert sum(counts) == 5


def test_killed_trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A job whose process is killed is requeued by Slurm, without the sweeper's doing."""
    slurm = ("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.sweeper.n_jobs=2")
    settings = ("hydra.sweeper.n_trials=2", "hydra.sweeper.retries=0", "fault=killed once")
    found = sweep(monkeypatch, tmp_path, SPACE, *slurm, *settings)
    assert states(found) == [TrialState.COMPLETE] * 2
    counts = [(tmp_path / str(i) / "starts").read_text().count("started") for i in range(2)]
    assert counts == [1, 2]
    jobs = jobs_in(tmp_path)
    assert sorted(show(job).restarts for job in jobs) == [0, 1]
    said = [job_log(tmp_path, job) for job in jobs if show(job).restarts]
    assert "killed (status 137): requeued" in said[0]


def test_requeued_training_goes_on(tmp_path: Path) -> None:
    """A training that is requeued between epochs resumes from its checkpoint, as its log tells."""
    sweep_folder = tmp_path / "sweep"
    command = [
        *(sys.executable, str(ROOT / "train.py"), "-m", "hydra/launcher=slurm", "trainer=cpu"),
        *("hydra.launcher.cpus_per_task=1", f"hydra.sweep.dir={sweep_folder}", "rate=0.2,0.4"),
        *("trainer.enable_progress_bar=false", f"paths.data={tmp_path / 'data'}"),
        *("data.n_train=8", "data.n_val=2", "data.input_size=64", "data.batch_size=2"),
        *("data.num_workers=0", "phases.dense_epochs=8", "phases.prune_epochs=2"),
        *("phases.finetune_epochs=2", "recover.pictures=4"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    checkpoint = sweep_folder / "0" / "checkpoints" / "last.ckpt"
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    [job] = {path.name for path in (sweep_folder / ".submitit").iterdir() if path.name[-2:] == "_0"}
    subprocess.run(["scontrol", "requeue", job], check=True)
    _, said = process.communicate()
    assert process.returncode == 0, said
    logs = "".join(path.read_text() for path in (sweep_folder / ".submitit" / job).glob("*.err"))
    assert f"continuing {sweep_folder / '0'} from last.ckpt" in logs
    for number in ("0", "1"):
        assert (sweep_folder / number / "summary.json").exists()
