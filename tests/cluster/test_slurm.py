"""Sweeps on the Slurm that ``tests/cluster/run.sh`` starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.sweeper.test_study_sweeper import SPACE, states, sweep

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def _cluster() -> None:
    if shutil.which("sbatch") is None or "SLURM_CONF" not in os.environ:
        pytest.skip("no Slurm: run `make test-cluster`")


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
