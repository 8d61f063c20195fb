"""Sweeps of real, tiny trainings on a real Slurm, with jobs requeued, killed and preempted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState

from secateur.search.study import open_storage
from secateur.workflows.train.training import finished_epochs
from tests.cluster.slurm import (
    epochs,
    job_log,
    jobs_in,
    kill_task,
    print_sweep,
    scontrol,
    show,
    starts,
    steps,
    training,
    wait_for,
    whole,
)

pytestmark = pytest.mark.cluster
PATIENCE = 1800.0  # seconds, on a machine that others use too


class Start(Protocol):
    """Starts a command."""

    def __call__(self, command: list[str]) -> subprocess.Popen[str]: ...


@pytest.fixture
def start() -> Iterator[Start]:
    """Start commands that end with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(command: list[str]) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            # What a shell starts in the background ignores SIGINT, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
    subprocess.run(["scancel", "--user=root"], check=True)


def test_eight_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], start: Start) -> None:
    """One job is requeued in mid-epoch, one killed, one preempted: eight whole runs anyway."""
    sweep = tmp_path / "sweep"
    each = 20  # steps of an epoch
    began = time.monotonic()
    process = start(
        training(
            *(sweep, tmp_path / "data", "model=eresfd,extd_32", "pruning=fpgm,l1", "rate=0.1,0.3"),
            *(f"data.n_train={2 * each}", "phases.dense_epochs=3", "phases.prune_epochs=2"),
            "phases.finetune_epochs=1",
        )
    )

    def in_the_middle_of(number: int, epoch: int) -> bool:
        folder = sweep / str(number)
        saved = (folder / "checkpoints" / "last.ckpt").exists()
        return saved and steps(folder) == each * epoch  # logged at the end of an epoch

    wait_for(lambda: in_the_middle_of(0, 1), process, PATIENCE)
    time.sleep(0.3)
    [array] = {job.partition("_")[0] for job in jobs_in(sweep)}
    scontrol("requeue", f"{array}_0")
    wait_for(lambda: in_the_middle_of(1, 2), process, PATIENCE)
    time.sleep(0.3)
    kill_task(f"{array}_1")
    wait_for(lambda: in_the_middle_of(3, 1), process, PATIENCE)
    urgent = ["sbatch", "--partition=urgent", "--ntasks=2", "--output=/dev/null", "--wrap=sleep 1"]
    subprocess.run(urgent, check=True, stdout=subprocess.DEVNULL)
    _, said = process.communicate(timeout=PATIENCE)
    seconds = time.monotonic() - began
    assert process.returncode == 0, said

    jobs = jobs_in(sweep)
    assert jobs == [f"{array}_{number}" for number in range(8)]
    with capsys.disabled():
        print_sweep(
            f"eight runs, {seconds:.0f} s, job 0 requeued, 1 killed, urgent work while 3 ran",
            *(sweep, {job: number for number, job in enumerate(jobs)}),
        )
    cells = set()
    for number, job in enumerate(jobs):
        folder = sweep / str(number)
        assert whole(folder)
        config = OmegaConf.load(folder / "config.yaml")
        summary = json.loads((folder / "summary.json").read_text())
        assert (summary["model"], summary["criterion"]) == (
            config.model.name,
            config.pruning.criterion,
        )
        cells.add((config.model.name, config.pruning.criterion, config.rate))
        assert epochs(folder) == 6
        assert steps(folder) == 6 * each
        assert finished_epochs(folder / "checkpoints" / "last.ckpt") == 6
        log = job_log(sweep, job)
        assert starts(sweep, job) == show(job).restarts + 1
        assert len(re.findall("continuing .* from last.ckpt", log)) == show(job).restarts
    assert len(cells) == 8
    stopped = re.search(r"stopped by SIGTERM at step (\d+)", job_log(sweep, jobs[0]))
    assert stopped is not None
    assert each < int(stopped.group(1)) < 2 * each
    assert f"{sweep / '0'} from last.ckpt, 1 epochs done" in job_log(sweep, jobs[0])
    assert f"{sweep / '1'} from last.ckpt, 2 epochs done" in job_log(sweep, jobs[1])
    assert "killed (status 137): requeued" in job_log(sweep, jobs[1])
    assert show(jobs[0]).restarts >= 1
    assert show(jobs[1]).restarts >= 1
    assert sum(show(job).restarts for job in jobs) >= 3


def test_study_stopped_and_restarted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], start: Start
) -> None:
    """A study killed at trial 7 and stopped at trial 13 ends with 20 whole trials, none double."""
    sweep = tmp_path / "sweep"
    command = training(
        *(sweep, tmp_path / "data", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=20"),
        *("hydra.sweeper.n_jobs=2", "model=choice(eresfd,extd_32)", "pruning=choice(fpgm,l1)"),
        *("rate=interval(0.1,0.3)", "data.n_train=8", "phases.dense_epochs=1"),
        *("phases.prune_epochs=1", "phases.finetune_epochs=1"),
    )
    storage = sweep / "study.journal"

    def trials() -> list[optuna.trial.FrozenTrial]:
        backend = open_storage(storage)
        [name] = optuna.get_all_study_names(backend)
        return optuna.load_study(study_name=name, storage=backend).trials

    def told() -> int:
        return sum(trial.state == TrialState.COMPLETE for trial in trials())

    def marks() -> dict[int, tuple[int, int]]:
        found = {}
        for trial in trials():
            if trial.state == TrialState.COMPLETE:
                about = (sweep / str(trial.number) / "summary.json").stat()
                found[trial.number] = (about.st_ino, about.st_mtime_ns)
        return found

    began = time.monotonic()
    marked: dict[int, tuple[int, int]] = {}
    stops = []
    for count, how in ((7, signal.SIGKILL), (13, signal.SIGINT)):
        process = start(command)
        wait_for(lambda: storage.exists() and bool(jobs_in(sweep)), process, PATIENCE)
        wait_for(lambda n=count: told() >= n, process, PATIENCE)  # type: ignore[misc]
        process.send_signal(how)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL), said
        marked |= marks()
        left = [trial.number for trial in trials() if trial.state == TrialState.RUNNING]
        stops.append(f"{how.name} after {told()} trials, {left} under way")
    process = start(command)
    _, said = process.communicate(timeout=PATIENCE)
    seconds = time.monotonic() - began
    assert process.returncode == 0, said

    ended = trials()
    folders = {}
    for job in jobs_in(sweep):
        [number] = set(
            re.findall(
                rf"(?:run folder: |continuing |^){sweep}/(\d+)\b", job_log(sweep, job), re.MULTILINE
            )
        )
        folders[job] = int(number)
    with capsys.disabled():
        print_sweep(f"study of 20 trials, {seconds:.0f} s; {'; '.join(stops)}", sweep, folders)
    assert [trial.number for trial in ended] == list(range(20))
    assert [trial.state for trial in ended] == [TrialState.COMPLETE] * 20
    folders_left = {path.name for path in sweep.iterdir() if path.name[0] != "." and path.is_dir()}
    assert folders_left == {"comparison", *(str(number) for number in range(20))}
    assert len({tuple(sorted(trial.params.items())) for trial in ended}) == 20
    for trial in ended:
        folder = sweep / str(trial.number)
        assert whole(folder)
        assert epochs(folder) == 3
        assert steps(folder) == 12
        summary = json.loads((folder / "summary.json").read_text())
        assert trial.value == summary["ap_hard"]
        assert summary["model"] == trial.params["model"]
        assert OmegaConf.load(folder / "config.yaml").rate == trial.params["rate"]
    assert len(marked) >= 13
    assert {number: mark for number, mark in marks().items() if number in marked} == marked
    # what a job trained is trained once: of two jobs for one folder the second finds it finished
    began_anew = [log for job in folders if "run folder: " in (log := job_log(sweep, job))]
    assert len(began_anew) == 20


def test_devices_and_tasks_agree(tmp_path: Path, start: Start) -> None:
    """Two devices are two tasks of one job, which train one network."""
    sweep = tmp_path / "sweep"
    process = start(
        training(
            *(sweep, tmp_path / "data", "trainer.devices=2", "trainer.strategy=ddp", "rate=0.2"),
            *(
                "data.n_train=8",
                "data.eval_batch_size=1",
                "phases.dense_epochs=1",
                "phases.prune_epochs=1",
            ),
            "phases.finetune_epochs=1",
        )
    )
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    [job] = jobs_in(sweep)
    assert "NumTasks=2" in scontrol("show", "job", job, "--oneliner")
    assert whole(sweep / "0")
    assert epochs(sweep / "0") == 3
    assert steps(sweep / "0") == 6
