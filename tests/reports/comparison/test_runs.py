"""What is found in folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.errors import InputError
from secateur.reports.comparison.runs import collect_runs, differing_settings
from tests.reports.comparison.folders import write_run


def test_a_run_and_its_evaluation_are_found_at_any_depth(tmp_path: Path) -> None:
    write_run(tmp_path / "sweep" / "0")
    runs = collect_runs([tmp_path]).runs
    assert [run.kind for run in runs] == ["training", "evaluation"]
    training, evaluation = runs
    assert training.name == "." or training.name.endswith("0")
    assert training.record["params_ratio"] == pytest.approx(70000 / 92208, abs=1e-6)
    assert training.record["ap_drop"] == pytest.approx(0.05)
    assert training.curves["val/ap_hard"] == ([0.0, 1.0], [0.4, 0.8])
    assert [(row.kept, row.slim) for row in training.layers] == [(6, 7)]
    assert training.precision_recall["hard"] == ([0.1, 0.7], [1.0, 0.6])
    assert evaluation.record["ap_hard"] == 0.79
    assert evaluation.record["macs_slim"] == 50_000_000  # of the run that it evaluated
    assert "ap_hard_start" not in evaluation.record


def test_the_curve_that_a_run_wrote_goes_before_those_of_its_evaluations(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    own = "setting,threshold,precision,recall\nhard,0.9,0.5,0.25\n"
    (folder / "precision_recall.csv").write_text(own)
    training = collect_runs([tmp_path]).runs[0]
    assert training.precision_recall["hard"] == ([0.25], [0.5])


def test_what_was_measured_at_one_epoch_alone_is_no_curve(tmp_path: Path) -> None:
    rows = ["epoch,step,name,value", "0,0,val/ap_hard,0.8", "0,0,val/ap_hard,0.7"]
    rows += [f"{epoch},{epoch},holdout/ap_hard,0.7{epoch}" for epoch in (0, 1)]
    (write_run(tmp_path / "a") / "metrics.csv").write_text("\n".join([*rows, ""]))
    curves = collect_runs([tmp_path]).runs[0].curves
    assert curves == {"holdout/ap_hard": ([0.0, 1.0], [0.7, 0.71])}


def test_a_curve_has_one_value_per_epoch_the_last(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    values = "0,0,val/ap_hard,0.9\n0,4,val/ap_hard,0.2\n1,8,val/ap_hard,0.5\n"
    (tmp_path / "run" / "metrics.csv").write_text(f"epoch,step,name,value\n{values}")
    assert collect_runs([tmp_path]).runs[0].curves["val/ap_hard"] == ([0.0, 1.0], [0.2, 0.5])


def test_jobs_of_a_sweep_come_by_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_run(tmp_path / "sweep" / str(number))
    kinds = {run.path.name: run for run in collect_runs([tmp_path]).runs if run.kind == "training"}
    assert list(kinds) == ["1", "2", "10"]


def test_a_folder_given_twice_counts_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    assert len(collect_runs([tmp_path, run]).runs) == 2


def test_a_damaged_run_is_named_and_hides_no_other(tmp_path: Path) -> None:
    write_run(tmp_path / "good")
    bad = write_run(tmp_path / "bad")
    (bad / "summary.json").write_text("{")
    found = collect_runs([tmp_path])
    assert "good" in [run.name for run in found.runs]
    assert any("bad is left out" in problem for problem in found.problems)


def test_an_unfinished_run_shows_its_settings(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    (run / "summary.json").unlink()
    first = collect_runs([tmp_path]).runs[0]
    assert first.kind == "unfinished"
    assert first.record["criterion"] == "fpgm"


def test_a_recipe_is_one_row_with_the_layers_of_its_last_step(tmp_path: Path) -> None:
    recipe = tmp_path / "pipeline"
    write_run(recipe / "finetune", ap_hard=0.9)
    write_run(recipe / "prune")
    (recipe / "summary.json").write_text(json.dumps({"model": "eresfd", "ap_hard": 0.9}))
    (only,) = collect_runs([recipe]).runs
    assert only.kind == "recipe"
    assert only.layers


def test_settings_that_differ_are_found_but_not_places(tmp_path: Path) -> None:
    write_run(tmp_path / "a", epochs=3)
    write_run(tmp_path / "b", epochs=5)
    assert differing_settings(collect_runs([tmp_path]).runs) == ["phases.prune_epochs"]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        collect_runs([tmp_path])
    with pytest.raises(InputError, match="is no folder"):
        collect_runs([tmp_path / "nowhere"])
