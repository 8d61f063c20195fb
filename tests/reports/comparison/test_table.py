"""Order, filter and columns of the table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from secateur.errors import InputError
from secateur.reports.comparison.runs import Run
from secateur.reports.comparison.table import (
    default_columns,
    rows_of,
    select_runs,
    unequal_runs,
    write_csv,
    write_value,
)
from secateur.reports.tables import NOTHING

RUNS = [
    Run(Path("/a"), "training", {"model": "eresfd", "ap_hard": 0.7, "params_slim": 50}, name="a"),
    Run(Path("/b"), "training", {"model": "extd_32", "ap_hard": 0.9, "params_slim": 70}, name="b"),
    Run(Path("/c"), "unfinished", {"model": "eresfd"}, name="c"),
]


def test_the_best_comes_first_whichever_way_is_better() -> None:
    assert [run.name for run in select_runs(RUNS, None, "ap_hard")] == ["b", "a", "c"]
    assert [run.name for run in select_runs(RUNS, None, "params_slim")] == ["a", "b", "c"]
    assert [run.name for run in select_runs(RUNS, None, "-params_slim")] == ["b", "a", "c"]
    assert [run.name for run in select_runs(RUNS, None, "model")] == ["a", "c", "b"]


def test_a_condition_leaves_out_runs_without_the_value() -> None:
    assert [run.name for run in select_runs(RUNS, "params_slim<60", None)] == ["a"]


def test_a_misspelt_name_is_answered_with_the_right_one() -> None:
    with pytest.raises(InputError, match="did you mean ap_hard"):
        select_runs(RUNS, None, "ap_herd")


def test_columns_that_say_the_same_everywhere_are_left_out() -> None:
    assert default_columns(RUNS[:2]) == ["run", "model", "ap_hard", "params_slim"]


def test_rates_of_many_layers_stand_behind_what_came_out() -> None:
    rates = {f"rates.layer{i}": i / 100 for i in range(30)}
    record = {"model": "eresfd", "criterion": "l2", "rate": 0.0, "ap_hard": 0.8, **rates}
    runs = [RUNS[0], Run(Path("/d"), "training", record, name="d")]
    columns = default_columns(runs)
    assert columns.index("ap_hard") < columns.index("rates.layer0")
    assert [row[0] for row in rows_of(runs, ["rate"])] == [NOTHING, "own"]


def test_a_run_whose_norms_lost_channels_is_marked() -> None:
    other = {"model": "eresfd", "ap_hard": 0.8, "params_slim": 40, "slim_equal": False}
    runs = [RUNS[0], Run(Path("/d"), "training", other, name="d")]
    columns = default_columns(runs)
    assert columns == ["run", "ap_hard", "params_slim", "slim_equal"]
    assert [row[-1] for row in rows_of(runs, columns)] == [NOTHING, "no"]
    assert unequal_runs(runs).endswith("normalised over the channels that stay: d")
    assert not unequal_runs(RUNS)


def test_csv_holds_full_numbers_and_the_path() -> None:
    rows = list(csv.DictReader(write_csv(RUNS).splitlines()))
    assert rows[0]["ap_hard"] == "0.7"
    assert rows[2]["ap_hard"] == ""
    assert rows[1]["path"] == "/b"


def test_values_are_written_in_their_unit() -> None:
    assert write_value("ap_hard_start", 0.5) == "0.5000"
    assert write_value("latency_ms_slim", 6.123) == "6.12 ms"
    assert write_value("params_ratio", 0.75) == "0.750"
