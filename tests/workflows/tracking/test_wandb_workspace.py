"""What a saved workspace and report would be, built without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from secateur.workflows.tracking.wandb_workspace import (
    build_report,
    build_workspace,
    main,
    specification,
)

pytest.importorskip("wandb_workspaces")


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    return specification(build_workspace("me/faces"), build_report("me/faces"))


def panels_of(section: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for part in section["panelBankConfig"]["sections"]:
        for panel in part["panels"]:
            found.setdefault(panel["viewType"], []).append(panel["config"])
    return found


def test_the_workspace_has_a_front_parallel_coordinates_and_a_table_of_slim_networks(
    built: dict[str, Any],
) -> None:
    section = built["workspace"]["spec"]["section"]
    panels = panels_of(section)
    fronts = panels["Scatter Plot"]
    assert {plot["yAxis"] for plot in fronts} == {"summary:final/ap_hard"}
    assert fronts[0]["xAxis"] == "summary:params_slim"
    columns = [one["accessor"] for one in panels["Parallel Coordinates Plot"][0]["columns"]]
    assert "config:pruning.value.criterion" in columns
    assert "summary:final/ap_hard" in columns
    runs = section["runSets"][0]
    assert runs["grouping"] == [{"name": "pruning.value.criterion", "section": "config"}]
    assert runs["sort"]["keys"][0]["key"]["name"] == "final/ap_hard"
    assert runs["sort"]["keys"][0]["ascending"] is False
    assert runs["runFeed"]["columnPinned"]["summary:params_ratio"]
    assert runs["filters"]["filters"][0]["value"] == "train"


def test_the_report_says_above_its_panels_what_the_names_mean(built: dict[str, Any]) -> None:
    blocks = built["report"]["spec"]["blocks"]
    text = json.dumps(blocks)
    assert "final/ is the fine-tuned, slim network" in text
    grids = [block for block in blocks if block["type"] == "panel-grid"]
    assert len(grids) == 5


def test_a_recognizer_is_sorted_by_its_error_the_smallest_first() -> None:
    view = specification(build_workspace("me/faces", "eer"), build_report("me/faces", "eer"))
    runs = view["workspace"]["spec"]["section"]["runSets"][0]
    assert runs["sort"]["keys"][0] == {
        "ascending": True,
        "key": {"section": "summary", "name": "final/eer"},
    }


def test_the_command_prints_what_it_would_save_and_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["me/faces", "--print"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == {"workspace", "report"}
    assert main(["faces", "--print"]) == 2
    assert "ENTITY/PROJECT" in capsys.readouterr().err
    assert main(["me/faces", "--quality", "params_ratios"]) == 2
