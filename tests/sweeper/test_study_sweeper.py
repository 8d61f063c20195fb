"""Sweeps of a toy from the command line, through the basic launcher and joblib."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import hydra
import optuna
import pytest
import yaml
from optuna.trial import TrialState

from secateur.errors import InputError
from secateur.search.study import open_storage
from tests.sweeper import toy

ROOT = Path(__file__).parents[2]
SPACE = "x=interval(0,1)"


def sweep(monkeypatch: pytest.MonkeyPatch, folder: Path, *overrides: str) -> list[Any]:
    """Run the sweep in this process; returns the trials of its study."""
    command(monkeypatch, folder, *overrides)
    return trials(folder)


def command(monkeypatch: pytest.MonkeyPatch, folder: Path, *overrides: str) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    settings = (
        *("-m", "hydra/sweeper=optuna", f"hydra.sweep.dir={folder}"),
        f"hydra.searchpath=[file://{ROOT / 'conf'}]",
        "hydra/sweeper/sampler=random",
    )
    monkeypatch.setattr(sys, "argv", ["toy.py", *settings, *overrides])
    main = hydra.main(version_base="1.3", config_path=str(Path(__file__).parent), config_name="toy")
    main(toy.task)()


def trials(folder: Path) -> list[Any]:
    storage = open_storage(folder / "study.journal")
    [name] = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).trials


def states(found: list[Any]) -> list[TrialState]:
    return [trial.state for trial in found]


def results(folder: Path) -> dict[str, Any]:
    loaded = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_values_reach_the_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = (SPACE, "n=range(2,6,2)", "kind=choice(a,'b c')", "hydra.sweeper.n_trials=6")
    found = sweep(monkeypatch, tmp_path, *overrides)
    assert states(found) == [TrialState.COMPLETE] * 6
    assert folders(tmp_path) == [str(number) for number in range(6)]
    for trial in found:
        config = json.loads((tmp_path / str(trial.number) / "config.json").read_text())
        assert config["x"] == trial.params["x"]
        assert config["n"] == trial.params["n"]
        assert config["n"] in (2, 4)
        assert config["kind"] == trial.params["kind"].strip("'")
        assert config["trial"]["number"] == trial.number
        assert config["trial"]["storage"] == str(tmp_path / "study.journal")
        assert trial.value == -((config["x"] - 0.25) ** 2)
    best = max(found, key=lambda trial: trial.value)
    assert results(tmp_path)["best_trial"] == best.number
    assert results(tmp_path)["best_params"] == best.params
    assert "6 trials complete" in capsys.readouterr().out


@pytest.mark.slow
def test_joblib_two_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2")
    faults = ("fault=killed", "hydra.sweeper.n_trials=4", "hydra.sweeper.max_failure_rate=0.5")
    found = sweep(monkeypatch, tmp_path, SPACE, *joblib, *faults)
    done = TrialState.COMPLETE
    assert states(found) == [done, TrialState.FAIL, done, done]
    assert (tmp_path / "1" / "starts").read_text().count("started") == 2


@pytest.mark.slow
def test_joblib_killed_job_starts_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2")
    overrides = ("fault=killed once", "hydra.sweeper.n_trials=3")
    found = sweep(monkeypatch, tmp_path, SPACE, *joblib, *overrides)
    assert states(found) == [TrialState.COMPLETE] * 3


@pytest.mark.slow
def test_local_killed_process_takes_no_other_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    local = ("hydra/launcher=local", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4")
    faults = ("fault=killed", "hydra.sweeper.max_failure_rate=0.5")
    found = sweep(monkeypatch, tmp_path, SPACE, *local, *faults)
    done = TrialState.COMPLETE
    assert states(found) == [done, TrialState.FAIL, done, done]
    counts = [(tmp_path / str(i) / "starts").read_text().count("started") for i in range(4)]
    assert counts == [1, 2, 1, 1]


def test_goes_on_to_the_same_total(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    overrides = (SPACE, "fault=stopped", "hydra.sweeper.n_trials=5")
    with pytest.raises(KeyboardInterrupt):
        sweep(monkeypatch, tmp_path, *overrides)
    before = trials(tmp_path)
    assert states(before) == [TrialState.COMPLETE] * 2 + [TrialState.RUNNING]
    after = sweep(monkeypatch, tmp_path, *overrides)
    assert states(after) == [TrialState.COMPLETE] * 5
    assert [trial.params for trial in after[:3]] == [trial.params for trial in before]
    assert len({trial.params["x"] for trial in after}) == 5
    counts = [(tmp_path / str(i) / "starts").read_text().count("started") for i in range(5)]
    assert counts == [1, 1, 2, 1, 1]
    again = sweep(monkeypatch, tmp_path, *overrides)
    assert len(again) == 5
    assert folders(tmp_path) == ["0", "1", "2", "3", "4"]


def test_a_person_may_stop_it_often(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    overrides = (SPACE, "fault=always stopped", "hydra.sweeper.n_trials=2")
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            sweep(monkeypatch, tmp_path, *overrides)
    assert states(trials(tmp_path)) == [TrialState.RUNNING]
    found = sweep(monkeypatch, tmp_path, SPACE, "hydra.sweeper.n_trials=2")
    assert states(found) == [TrialState.COMPLETE] * 2


@pytest.mark.parametrize("fault", ["not a number", "none", "raise"])
def test_failed_trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str) -> None:
    settings = ("hydra.sweeper.n_trials=6", "hydra.sweeper.max_failure_rate=0.4")
    found = sweep(monkeypatch, tmp_path, SPACE, f"fault={fault}", *settings)
    assert [trial.number for trial in found if trial.state == TrialState.FAIL] == [1, 4]
    assert results(tmp_path)["trials"] == {"complete": 4, "pruned": 0, "fail": 2}


def test_too_many_failures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = ("hydra.sweeper.n_trials=6", "hydra.sweeper.max_failure_rate=0")
    with pytest.raises(InputError, match="trial 1: RuntimeError: this one fails"):
        sweep(monkeypatch, tmp_path, SPACE, "fault=raise", *settings)
    assert states(trials(tmp_path)) == [TrialState.COMPLETE, TrialState.FAIL]


def test_pruned_trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = sweep(monkeypatch, tmp_path, SPACE, "fault=pruned", "hydra.sweeper.n_trials=4")
    assert states(found) == [TrialState.COMPLETE] * 2 + [TrialState.PRUNED] * 2


def test_two_objectives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = ("hydra.sweeper.direction=[maximize,minimize]", "hydra.sweeper.n_trials=8")
    sampler = "hydra/sweeper/sampler=nsga2"
    found = sweep(monkeypatch, tmp_path, "fault=two", SPACE, sampler, *settings)
    assert all(len(trial.values) == 2 for trial in found)
    front = {
        one.number
        for one in found
        if not any(
            other.values[0] >= one.values[0]
            and other.values[1] <= one.values[1]
            and other.values != one.values
            for other in found
        )
    }
    assert {row["trial"] for row in results(tmp_path)["solutions"]} == front


def test_space_in_yaml_and_in_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = (
        "hydra.sweeper.params={x:'interval(0,1)'}",
        "hydra.sweeper.n_trials=8",
        "hydra.sweeper.custom_search_space=tests.sweeper.toy.more",
        "x=interval(0.4,0.5)",
    )
    found = sweep(monkeypatch, tmp_path / "a", *settings)
    assert all(0.4 <= trial.params["x"] <= 0.5 for trial in found)
    assert {trial.params["kind"] for trial in found} == {"a", "b"}
    assert all(("n" in trial.params) == (trial.params["kind"] == "b") for trial in found)
    with pytest.raises(InputError, match="both fixed and searched"):
        sweep(monkeypatch, tmp_path / "b", *settings, "kind=b")


def test_a_further_process_joins_its_trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    trial = {"number": 3, "overrides": ["x=0.5", "hydra.sweep.subdir=3"]}
    monkeypatch.setenv("SECATEUR_TRIAL", json.dumps(trial))
    command(monkeypatch, tmp_path, SPACE)
    assert folders(tmp_path) == ["3"]
    assert not (tmp_path / "study.journal").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("x=1", "nothing to search"),
        ("x=range(1,1)", "start < stop"),
        ("hydra.sweeper.n_jobs=0", "n_jobs must be at least 1"),
        ("hydra.sweeper.direction=up", "must be maximize"),
        ("hydra.sweeper.custom_search_space=tests.sweeper.toy.nowhere", "dotted path"),
    ],
)
def test_impossible_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, override: str, said: str
) -> None:
    space = () if override.startswith("x=") else (SPACE,)
    with pytest.raises(InputError, match=said):
        sweep(monkeypatch, tmp_path, *space, override)
