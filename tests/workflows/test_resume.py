"""A run that is killed in the middle of an epoch ends as an unbroken one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from secateur.workflows.train.training import finished_epochs

ROOT = Path(__file__).parents[2]
# figures of time and memory differ between any two runs
MEASURED = ("latency_ms_dense", "latency_ms_slim", "wall_seconds", "peak_memory_mb")


def command(folder: Path, data: Path) -> list[str]:
    return [
        sys.executable,
        str(ROOT / "train.py"),
        "trainer=cpu",
        "trainer.enable_progress_bar=false",
        f"paths.data={data}",
        f"output_dir={folder}",
        "data.n_train=48",
        "data.n_val=4",
        "data.input_size=64",
        "data.batch_size=2",
        "optimizer.lr=5e-4",
        "data.num_workers=1",
        "phases.dense_epochs=2",
        "phases.prune_epochs=2",
        "phases.finetune_epochs=1",
    ]


def wait_for_epoch(folder: Path, epoch: int, process: subprocess.Popen[bytes]) -> None:
    """Return shortly after the validation of ``epoch`` was logged: in the next epoch."""
    metrics = folder / "metrics.csv"
    for _ in range(6000):
        if metrics.exists() and f"\n{epoch}," in metrics.read_text():
            time.sleep(0.3)
            return
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)
    raise AssertionError("the run made no progress")


@pytest.mark.slow
def test_kill_in_mid_epoch_and_resume(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, broken, data = tmp_path / "whole", tmp_path / "broken", tmp_path / "data"
    subprocess.run(command(whole, data), check=True, env=environment, capture_output=True)
    for epoch in (0, 2, 3):
        process = subprocess.Popen(
            command(broken, data),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_epoch(broken, epoch, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (broken / "summary.json").exists()
    last = subprocess.run(command(broken, data), env=environment, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert "continuing" in last.stderr
    for folder in (whole, broken):  # also where the last epoch was not the best
        assert finished_epochs(folder / "checkpoints" / "last.ckpt") == 5
    expected, found = (
        json.loads((folder / "summary.json").read_text()) for folder in (whole, broken)
    )
    for name in MEASURED:
        expected.pop(name), found.pop(name)
    assert found == expected
