"""A sweep of real, tiny training runs: broken off, continued, and with two objectives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from secateur.search.study import open_storage

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_sweep_of_trainings_goes_on(tmp_path: Path) -> None:
    command = [
        *(sys.executable, str(ROOT / "train.py"), "-m", "hydra/sweeper=optuna", "debug=fast"),
        *("trainer=cpu", "trainer.enable_progress_bar=false", f"paths.data={tmp_path / 'data'}"),
        *("data.n_train=4", "data.n_val=2", "data.input_size=64", "data.batch_size=2"),
        *("data.num_workers=0", f"paths.outputs={tmp_path}", "hydra.sweeper.study_name=named"),
        *("rates.g1=interval(0,0.5)", "pruning=choice(fpgm,l1)", "rate=range(0.1,0.5,0.1)"),
        *("hydra.sweeper.direction=[maximize,minimize]", "hydra.sweeper.n_trials=3"),
        "hydra.sweeper.objective=[ap_hard,macs_slim]",
    ]
    folder = tmp_path / "multirun" / "named"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    for _ in range(6000):
        if (folder / "1" / "config.yaml").exists():
            break
        assert first.poll() is None, first.stderr.read() if first.stderr else ""
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    finished = (folder / "0" / "summary.json").stat().st_mtime_ns
    second = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert "trials 1 go on" in second.stderr
    assert (folder / "0" / "summary.json").stat().st_mtime_ns == finished
    trials = optuna.load_study(
        study_name="named", storage=open_storage(folder / "study.journal")
    ).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    for trial in trials:
        summary = json.loads((folder / str(trial.number) / "summary.json").read_text())
        assert trial.values == [summary["ap_hard"], summary["macs_slim"]]
        assert trial.user_attrs["folder"] == str(folder / str(trial.number))
    assert (folder / "optimization_results.yaml").exists()
