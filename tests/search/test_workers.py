"""Tests of crews: processes are killed, and nothing is lost or made twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from secateur.errors import InputError
from secateur.search.workers import run_workers
from tests.search.toy import toy_assignment

PROGRAM = Path(__file__).parent / "run_toy.py"


def start(folder: Path, n_trials: int, n_workers: int, seconds: float) -> subprocess.Popen[bytes]:
    arguments = [str(folder), str(n_trials), str(n_workers), str(seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(PROGRAM), *arguments], env=environment)


def lines(folder: Path) -> list[list[str]]:
    log = folder / "log.txt"
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def working(folder: Path) -> dict[str, str]:
    """Point by process for trials that have begun and not ended."""
    begun: dict[str, str] = {}
    for what, process, point in lines(folder):
        if what == "start":
            begun[process] = point
        else:
            begun.pop(process, None)
    return begun


def wait_for(condition: object, seconds: float = 400.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_no_workers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="n_workers must be at least 1"):
        run_workers(toy_assignment(tmp_path, 1), 0)


@pytest.mark.slow
def test_killed_workers_lose_nothing(tmp_path: Path) -> None:
    n_trials = 30
    program = start(tmp_path, n_trials, 3, seconds=0.4)
    try:
        wait_for(lambda: len({process for _, process, _ in lines(tmp_path)}) == 3)
        wait_for(lambda: working(tmp_path))
        # One of three: the others go on, and a new one takes its place.
        victim = next(iter(working(tmp_path)))
        os.kill(int(victim), signal.SIGKILL)
        wait_for(lambda: len({process for _, process, _ in lines(tmp_path)}) == 4)
        # All of them, with the process that looks after them.
        wait_for(lambda: working(tmp_path))
        program.kill()
        for process in {process for _, process, _ in lines(tmp_path)}:
            if process != victim:
                os.kill(int(process), signal.SIGKILL)
        program.wait()
    finally:
        program.kill()
    assert toy_assignment(tmp_path, n_trials).open().counts().spent < n_trials

    assert start(tmp_path, n_trials, 2, seconds=0.01).wait(400) == 0
    study = toy_assignment(tmp_path, n_trials).open()
    trials = study.trials()
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert len(complete) == n_trials
    assert len(complete) + len(failed) == len(trials)
    assert 2 <= len(failed) <= 4
    done = [tuple(trial.params.items()) for trial in complete]
    assert len(set(done)) == n_trials
    assert {tuple(trial.params.items()) for trial in failed if trial.params} <= set(done)


@pytest.mark.slow
def test_workers_stop_when_their_parent_is_killed(tmp_path: Path) -> None:
    program = start(tmp_path, 500, 2, seconds=0.2)
    try:
        wait_for(lambda: len({process for _, process, _ in lines(tmp_path)}) == 2)
    finally:
        program.kill()
        program.wait()
    workers = {int(process) for _, process, _ in lines(tmp_path)}
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    assert not working(tmp_path)
