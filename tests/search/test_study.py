"""Tests of studies: exact accounts whatever happens to workers."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from secateur.errors import InputError
from secateur.search.records import best, read_trial
from secateur.search.sampling import OWNER, RESULT, SamplerKind
from secateur.search.workers import run_trials, run_workers
from tests.search.toy import toy_assignment


@pytest.mark.parametrize(
    "kind", ["random", "tpe", "nsga2", pytest.param("gp", marks=pytest.mark.slow)]
)
def test_continues_to_a_larger_total(tmp_path: Path, kind: SamplerKind) -> None:
    run_workers(toy_assignment(tmp_path, 8, kind=kind), 1)
    study = run_workers(toy_assignment(tmp_path, 14, kind=kind), 1)
    assert [trial.number for trial in study.trials()] == list(range(14))
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials())
    assert len(set((tmp_path / "log.txt").read_text().splitlines())) == 28


@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
def test_stopping_does_not_change_the_points(tmp_path: Path, kind: SamplerKind) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = run_workers(toy_assignment(tmp_path / "whole", 16, kind=kind), 1)
    for n_trials in (3, 7, 16):
        parts = run_workers(toy_assignment(tmp_path / "parts", n_trials, kind=kind), 1)
    assert [t.params for t in parts.trials()] == [t.params for t in whole.trials()]


def test_first_points_are_those_of_the_seed(tmp_path: Path) -> None:
    job = toy_assignment(tmp_path, 6, kind="tpe")
    study = run_workers(job, 1)
    for trial in study.trials()[:5]:
        assert trial.params == job.sampler.points(trial.number)
    assert study.trials()[5].params != job.sampler.points(5)


def test_a_dead_owner_costs_one_trial(tmp_path: Path) -> None:
    job = toy_assignment(tmp_path, 4)
    study = job.open()
    trial = study.claim()
    assert trial is not None
    machine, _, _ = str(study.trials()[0].user_attrs[OWNER]).split("|")
    study.study._storage.set_trial_user_attr(trial._trial_id, OWNER, f"{machine}|999999999|1")
    study = run_workers(job, 1)
    states = [trial.state.name for trial in study.trials()]
    assert states == ["FAIL"] + ["COMPLETE"] * 4
    again = study.trials()[1]
    assert again.params == trial.params
    assert study.counts().spent == 4


def test_a_living_owner_keeps_its_trial(tmp_path: Path) -> None:
    study = toy_assignment(tmp_path, 4).open()
    trial = study.claim()
    assert trial is not None
    assert toy_assignment(tmp_path, 4).open().recover() == 0
    assert study.counts().running == 1


def test_a_trial_of_another_machine_is_given_up_after_a_while(tmp_path: Path) -> None:
    study = toy_assignment(tmp_path, 4).open()
    trial = study.claim()
    assert trial is not None
    study.study._storage.set_trial_user_attr(trial._trial_id, OWNER, "elsewhere/1|1|1")
    assert toy_assignment(tmp_path, 4).open().recover() == 0
    assert toy_assignment(tmp_path, 4, stale_after=0.0).open().recover() == 1


def test_two_that_recover_at_once_queue_a_point_once(tmp_path: Path) -> None:
    job = toy_assignment(tmp_path, 4, stale_after=0.0)
    study = job.open()
    trial = study.claim()
    assert trial is not None
    study.study._storage.set_trial_user_attr(trial._trial_id, OWNER, "elsewhere/1|1|1")
    first, second = job.open(), job.open()
    stale = first.trials()
    second_sees = second.trials()
    assert stale[0].state == second_sees[0].state == TrialState.RUNNING
    assert first.recover() + second.recover() == 1
    assert study.counts().waiting == 1


def test_a_point_that_kills_again_and_again_is_spent(tmp_path: Path) -> None:
    job = toy_assignment(tmp_path, 2, stale_after=0.0)
    study = job.open()
    for _ in range(4):
        trial = study.claim()
        assert trial is not None
        study.study._storage.set_trial_user_attr(trial._trial_id, OWNER, "elsewhere/1|1|1")
        study.recover()
    assert study.counts().spent == 1
    assert study.counts().waiting == 0


def test_late_result_of_a_trial_given_up_counts_for_nothing(tmp_path: Path) -> None:
    job = toy_assignment(tmp_path, 2, stale_after=0.0)
    study = job.open()
    trial = study.claim()
    assert trial is not None
    study.study._storage.set_trial_user_attr(trial._trial_id, OWNER, "elsewhere/1|1|1")
    assert job.open().recover() == 1
    study.finish(trial, [1.0], {})
    assert study.counts().spent == 0


def test_the_last_trial_is_made_once(tmp_path: Path) -> None:
    job = toy_assignment(tmp_path, 1)
    first, second = job.open(), job.open()
    # Both saw room; whoever comes second must find that out after asking.
    one = first.claim()
    second.counts = lambda trials=None: replace(first.counts(), spent=0, running=0)  # type: ignore[method-assign]
    assert one is not None
    assert second.claim() is None
    first.finish(one, [0.5], {})
    assert first.counts().spent == 1
    assert len(first.study.trials) == 2
    assert len(first.trials()) == 1


def test_an_objective_that_is_no_number_is_a_spent_failure(tmp_path: Path) -> None:
    study = run_workers(toy_assignment(tmp_path, 12, kind="tpe", bad_from=0.5), 1)
    states = [trial.state for trial in study.trials()]
    assert len(states) == 12
    assert TrialState.FAIL in states
    assert TrialState.COMPLETE in states
    found = best([read_trial(trial) for trial in study.trials()])
    assert found is not None
    assert found.rates["a"] < 0.5


def test_all_objectives_are_no_numbers(tmp_path: Path) -> None:
    study = run_workers(toy_assignment(tmp_path, 8, kind="tpe", bad_from=0.0), 1)
    assert study.counts().spent == 8
    assert best([read_trial(trial) for trial in study.trials()]) is None


def test_equal_networks_are_measured_once(tmp_path: Path) -> None:
    job = toy_assignment(tmp_path, 6)
    job.evaluate.identity = lambda rates: "always the same"  # type: ignore[method-assign]
    study = run_workers(job, 1)
    reused = [trial.user_attrs[RESULT]["reused"] for trial in study.trials()]
    assert reused == [False] + [True] * 5
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 2


def test_another_search_is_refused(tmp_path: Path) -> None:
    run_workers(toy_assignment(tmp_path, 1), 1)
    with pytest.raises(InputError, match="other weights"):
        toy_assignment(tmp_path, 1, identity="another").open()


def _work(folder: Path) -> None:
    job = toy_assignment(folder, 24, kind="tpe", crowd=2)
    run_trials(job.open(), job.space, job.evaluate)


def test_two_processes_make_no_trial_twice(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_work, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    study = toy_assignment(tmp_path, 24, kind="tpe").open()
    assert study.counts().spent == 24
    assert study.counts().running == study.counts().waiting == 0
    points = [tuple(trial.params.items()) for trial in study.trials()]
    assert len(set(points)) == len(points) == 24
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert len(set(lines)) == len(lines) == 48
    assert len({line.split()[1] for line in lines}) == 2


def test_guided_points_give_networks_that_nobody_measured(tmp_path: Path) -> None:
    job = toy_assignment(tmp_path, 15, kind="tpe")

    def coarse(rates: Mapping[str, float]) -> str:
        return f"{rates['a']:.1f},{rates['b']:.1f}"

    job.evaluate.identity = coarse  # type: ignore[method-assign]
    job.sampler.identify = coarse
    study = run_workers(job, 1)
    guided = study.trials()[5:]
    assert not any(trial.user_attrs[RESULT]["reused"] for trial in guided)


def test_a_process_that_was_held_up_while_it_began_a_trial_goes_on_with_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = toy_assignment(tmp_path, 3).open()

    def lost() -> None:
        raise UpdateFinishedTrialError

    with monkeypatch.context() as patched:
        patched.setattr(study.study, "ask", lost)
        assert study.claim() is None
    assert study.claim() is not None
