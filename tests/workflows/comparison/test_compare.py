"""The command: its arguments and what it writes."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

from secateur.errors import InputError
from secateur.reports.comparison.runs import collect_runs
from secateur.workflows.command_line.arguments import with_folders
from secateur.workflows.comparison.compare import compare, print_comparison
from tests.reports.comparison.folders import write_run

CONF = Path(__file__).resolve().parents[3] / "conf"


def run(*arguments: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        compare(compose("compare", with_folders(arguments)))


def test_folders_stand_without_a_key_and_conditions_without_quotes() -> None:
    given = ["out puts/", "where=a<3 and b='it'", "sort=-ap_hard", "--cfg", "job", "b"]
    rewritten = with_folders(given)
    assert rewritten[-1] == "folders=['out puts/','b']"
    assert rewritten[0] == "where='a<3 and b=\\'it\\''"
    assert rewritten[2:4] == ["--cfg", "job"]


def test_table_csv_plots_and_page_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, rate in enumerate((0.1, 0.5)):
        write_run(tmp_path / "sweep" / str(i), rate=rate, params_slim=90_000 - i * 40_000)
    run(f"{tmp_path}/sweep", "where=params_slim<60k or rate<20%", "sort=params_slim")
    printed = capsys.readouterr().out
    assert printed.index("50,000") < printed.index("90,000")
    out = tmp_path / "sweep" / "comparison"
    assert {path.name for path in out.iterdir()} == {"comparison.html", "runs.csv", "plots"}
    # what it wrote is no run
    run(f"{tmp_path}/sweep", "page=false")


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    with pytest.raises(InputError, match="none of the 2 runs meets"):
        run(str(tmp_path), "where=rate>0.9", "page=false")
    with pytest.raises(InputError, match="say what to compare"):
        run()
    with pytest.raises(InputError, match="did you mean ap_hard"):
        run(str(tmp_path), "columns=[ap_had]", "page=false")


def test_the_table_fits_a_narrow_terminal(tmp_path: Path) -> None:
    for i in range(2):
        write_run(tmp_path / f"run-with-a-long-name-{i}", rate=i / 10, ap_hard=0.7 + i / 10)
    text = StringIO()
    print_comparison(collect_runs([tmp_path]).runs, console=Console(file=text, width=80))
    assert max(map(len, text.getvalue().splitlines())) <= 80
    assert not re.search(r"[^ /]…", text.getvalue())  # names lose beginnings, no cell its end
    assert "rate" in text.getvalue()


def test_long_names_of_runs_leave_room_for_what_differs(tmp_path: Path) -> None:
    for i in range(4):
        sweep = ("train-model-pruning-rate-9462ddd3", "train-pruning-rate-fc949883")[i % 2]
        folder = tmp_path / "multirun" / sweep / str(i)
        write_run(folder, rate=i / 10, criterion=("fpgm", "l1")[i % 2], ap_hard=0.7 + i / 10)
    text = StringIO()
    runs = [run for run in collect_runs([tmp_path]).runs if run.kind != "evaluation"]
    print_comparison(runs, console=Console(file=text, width=80))
    assert max(map(len, text.getvalue().splitlines())) <= 80
    assert "criterion" in text.getvalue()
    assert "9462ddd3/2" in text.getvalue()
    stamped = "eresfd-fpgm-0.3-demo_faces-seed0-0c32c6cd/2026-11-26_17-56-57"
    write_run(tmp_path / stamped, model="yunet_n", rate=0.5)
    text = StringIO()
    runs = [run for run in collect_runs([tmp_path]).runs if run.kind != "evaluation"]
    print_comparison(runs, console=Console(file=text, width=80))
    assert max(map(len, text.getvalue().splitlines())) <= 80
    assert all(head in text.getvalue() for head in ("model", "criterion", "rate", "AP hard"))


def test_what_the_table_is_sorted_by_is_shown_on_a_narrow_terminal(tmp_path: Path) -> None:
    for i, criterion in enumerate(("a_criterion_of_mine", "another_long_criterion")):
        about = {"criterion": criterion, "model": f"a_network_of_mine_{i}", "scope": f"scope{i}"}
        write_run(tmp_path / f"run-with-a-long-name-{i}", rate=i / 10, ap_hard=0.7, **about)
    text = StringIO()
    runs = collect_runs([tmp_path]).runs
    print_comparison(runs, monitor="-ap_hard", console=Console(file=text, width=80))
    assert "AP hard" in text.getvalue()
    assert "parameters" in text.getvalue()


def test_published_points_stand_beside_runs_and_say_what_they_were_measured_on(
    tmp_path: Path,
) -> None:
    write_run(tmp_path / "sweep" / "0")
    run(f"{tmp_path}/sweep", "references=published")
    page = (tmp_path / "sweep" / "comparison" / "comparison.html").read_text()
    assert '"name":"YuNet_s","data":"widerface"' in page
    front = (tmp_path / "sweep" / "comparison" / "plots" / "front_params_slim.csv").read_text()
    assert "B-FPGM 50 %,reference,92208.0,0.674" in front
