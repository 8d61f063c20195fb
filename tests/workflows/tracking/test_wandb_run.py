"""What Weights & Biases is told, read back from the files of offline runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from secateur.reports.pictures import match_detections
from secateur.reports.wandb_pictures import box_overlays, wandb_images
from secateur.workflows.tracking.wandb_run import (
    log_evaluation,
    log_files,
    log_layers,
    log_search,
    summary_values,
    tracked_run,
)
from tests.workflows.tracking.wandb_files import read_offline_runs

pytest.importorskip("wandb")
CONF = Path(__file__).parents[3] / "conf"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def composed(command: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(command, ["logger=wandb", *overrides])


def test_no_figure_of_the_summary_is_of_the_dense_network_without_saying_so() -> None:
    summary = {"ap_hard": 0.93, "ap_hard_start": 0.97, "ap_hard_masked": 0.9, "params_slim": 5}
    values = summary_values({**summary, "params_dense": 10, "rates": {"g1": 0.2}})
    assert values["final/ap_hard"] == 0.93
    assert values["dense/ap_hard"] == 0.97
    assert values["pruned/ap_hard"] == 0.9
    assert "ap_hard" not in values
    assert values["params_ratio"] == 0.5
    assert values["ap_drop"] == pytest.approx(0.04)
    assert "rates" not in values


def test_a_resumed_run_is_one_run_with_name_group_tables_and_artifact(tmp_path: Path) -> None:
    config = composed("train", "logger.wandb.tags=[mine]", "logger.wandb.notes=why")
    network = tmp_path / "model.json"
    network.write_text("{}")
    layer = {"name": "conv", "filters": 8, "kept": 6, "slim": 7}
    for _ in range(2):
        with tracked_run(config, tmp_path, "eresfd-fpgm-0.3") as run:
            run.summary.update({"final/ap_hard": 0.9})
            log_layers(run, [layer])
            log_files(run, "eresfd slim", "model", [network], made_from=[tmp_path])
    first, second = read_offline_runs(tmp_path)
    assert first.id == second.id
    assert (first.name, first.job_type, first.group) == (
        "eresfd-fpgm-0.3",
        "train",
        "eresfd-demo_faces",
    )
    assert set(first.tags) == {"eresfd", "fpgm", "demo_faces", "mine"}
    assert second.summary["final/ap_hard"] == 0.9
    assert "layers" in second.logged
    assert second.artifacts["eresfd-slim"] == "model"
    assert second.config["made_from"] == [first.id]
    assert second.exit_code == 0


def test_a_search_has_a_table_of_trials_and_its_rates(tmp_path: Path) -> None:
    config = composed("search", "weights=x")
    (tmp_path / "trials.csv").write_text("number,objective\n0,-1.5\n1,\n")
    (tmp_path / "rates.yaml").write_text("rates: {g1: 0.3}\n")
    with tracked_run(config, tmp_path, "search-eresfd", job_type="search") as run:
        log_search(run, tmp_path, {"best_objective": -1.5, "rates": {"g1": 0.3}})
    (found,) = read_offline_runs(tmp_path)
    assert found.job_type == "search"
    assert found.summary["rates/g1"] == 0.3
    assert "trials" in found.logged
    assert found.artifacts["search-eresfd-rates"] == "rates"


def test_the_pictures_of_a_training_have_one_size_and_both_layers_of_boxes() -> None:
    sizes = [(30, 20), (20, 40)]
    pictures = [match_detections(np.zeros((*s, 3), np.uint8), [], [[1, 1, 5, 5]]) for s in sizes]
    images = wandb_images(pictures)
    assert {(image.image.width, image.image.height) for image in images} == {(40, 30)}
    overlays = box_overlays(pictures[0])
    assert overlays["detections"]["box_data"] == []
    assert overlays["ground_truth"]["box_data"][0]["position"]["maxX"] == 6


def test_an_evaluation_is_a_run_of_its_own_that_knows_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    run, folder = tmp_path / "run", tmp_path / "evaluation"
    run.mkdir()
    folder.mkdir()
    (run / "wandb_id").write_text("abcd1234")
    (folder / "evaluation.json").write_text(json.dumps({}))
    config = composed("evaluate", f"run={run}")
    record = {"name": "net", "data": "widerface", "ap": {"hard": 0.8}, "parameters": 7}
    image, faces = np.zeros((40, 60, 3), np.uint8), [[5, 5, 20, 20], [40, 30, 30, 30]]
    picture = match_detections(image, [[5, 5, 20, 20, 0.9]], faces, title="party")
    log_evaluation(config, folder, record, [picture])
    (found,) = read_offline_runs(folder)
    assert found.job_type == "evaluate"
    assert "pictures" in found.logged
    # what belongs to a table waits for its upload where W&B keeps what it has staged
    staged = [path.read_bytes() for path in (tmp_path / "staged").rglob("*") if path.is_file()]
    table = json.loads(next(text for text in staged if b'"ground_truth": [' in text))
    ((name, image, *counts),) = table["data"]
    assert (name, counts) == ("party", [2, 1, 1, 0])
    assert image["boxes"]["detections"][0]["scores"] == {"score": 0.9}
    # what sticks out of the picture is cut
    cut = {"minX": 40, "maxX": 60, "minY": 30, "maxY": 40}
    assert [face["position"] for face in image["boxes"]["ground_truth"]][1] == cut
    assert found.summary["final/ap_hard"] == 0.8
    assert found.summary["params_slim"] == 7
    assert found.config["made_from"] == ["abcd1234"]
    assert found.artifacts["net-widerface"] == "evaluation"
