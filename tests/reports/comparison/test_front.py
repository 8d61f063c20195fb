"""The front against its definition, and files of reference points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from secateur.errors import InputError
from secateur.reports.comparison.front import pareto_front, read_references


@pytest.mark.parametrize("larger", [True, False])
def test_front_is_what_no_other_point_beats(larger: bool) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        sizes = generator.integers(0, 8, 12).tolist()
        values = generator.integers(0, 8, 12).tolist()
        sign = 1 if larger else -1
        points = {(s, sign * v) for s, v in zip(sizes, values, strict=True)}
        naive = {
            p for p in points if not any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in points)
        }
        found = pareto_front(sizes, values, larger_is_better=larger)
        assert {(sizes[i], sign * values[i]) for i in found} == naive
        assert [sizes[i] for i in found] == sorted({sizes[i] for i in found})


def test_references_come_from_csv_and_yaml(tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    table.write_text("name,params_slim,ap_hard,source\nYuNet,75856,0.75,paper\n")
    listed = tmp_path / "points.yaml"
    listed.write_text("- {name: YuNet, params_slim: 75856, ap_hard: 0.75, source: paper}\n")
    assert read_references(table) == read_references(listed)
    assert read_references(table)[0]["params_slim"] == 75856.0


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.yaml"
    path.write_text("name: YuNet\n")
    with pytest.raises(InputError, match="list of points"):
        read_references(path)
    path.write_text("- {params_slim: 3}\n")
    with pytest.raises(InputError, match="without a name"):
        read_references(path)


def test_values_that_are_no_figures_stay_texts(tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    table.write_text("name,ap_hard,rate\na,nan,1e999\n")
    assert read_references(table) == [{"name": "a", "ap_hard": "nan", "rate": "1e999"}]
    table.write_text("name,ap_hard\na,1,2\n")
    with pytest.raises(InputError, match="line 2, has 3 values under 2 names"):
        read_references(table)
