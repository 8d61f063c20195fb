"""What whole commands tell Weights & Biases, read back from the files of their offline runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflows.tracking.wandb_files import OfflineRun, read_offline_runs

pytest.importorskip("wandb")
ROOT = Path(__file__).parents[3]
CPU = ("trainer=cpu", "trainer.enable_progress_bar=false")


def run(command: str, *arguments: str, folder: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_API_KEY"}
    environment |= {
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "WANDB_SILENT": "true",
        "WANDB_DATA_DIR": str(folder / "staged"),
    }
    line = [
        sys.executable,
        str(ROOT / f"{command}.py"),
        *arguments,
        "logger=wandb",
        "data.num_workers=0",
    ]
    subprocess.run(line, check=True, cwd=folder, env=environment, timeout=1500)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a multirun of two tiny trainings; its first job evaluated and searched."""
    folder = tmp_path_factory.mktemp("tracked")
    data = [f"data.root={folder / 'faces'}", "data.n_train=8", "data.n_val=2"]
    data += ["data.input_size=64", "data.batch_size=4"]
    phases = [f"phases.{name}_epochs=1" for name in ("dense", "prune", "finetune")]
    run(
        *("train", "-m", "rate=0.2,0.4", f"hydra.sweep.dir={folder / 'sweep'}"),
        *(*data, *phases, *CPU),
        folder=folder,
    )
    run("evaluate", f"run={folder / 'sweep' / '0'}", "page_pictures=2", *CPU, folder=folder)
    weights = folder / "sweep" / "0" / "checkpoints" / "dense.safetensors"
    run(
        *("search", "debug=search", "n_trials=2", "target.sparsity=0.2", f"weights={weights}"),
        f"output_dir={folder / 'search'}",
        *data,
        folder=folder,
    )
    return folder


def only(folder: Path) -> OfflineRun:
    (found,) = read_offline_runs(folder)
    return found


@pytest.mark.slow
def test_jobs_of_a_sweep_have_names_a_group_and_the_figures_of_the_slim_network(
    sweep: Path,
) -> None:
    first, second = (only(sweep / "sweep" / str(number)) for number in (0, 1))
    assert first.name == "eresfd-fpgm-0.2-demo_faces-seed0-0"
    assert second.name == "eresfd-fpgm-0.4-demo_faces-seed0-1"
    assert first.group == second.group
    assert first.group.startswith("sweep-")
    assert first.job_type == "train"
    for run in (first, second):
        assert {"final/ap_hard", "dense/ap_hard", "params_slim"} <= run.summary.keys()
        assert 0 < run.summary["params_ratio"] < 1
        assert {"macs_ratio", "latency_ratio", "ap_drop"} <= run.summary.keys()
        assert "val/ap_hard" in run.logged
        assert {"layers", "plots/kept_filters", "val/pictures"} <= run.logged
        assert {"train/lr", "pruning/sparsity", "pruning/mask_changes"} <= run.logged
        assert run.artifacts[f"{run.name}-slim"] == "model"
    assert first.summary["params_ratio"] > second.summary["params_ratio"]
    layers = [json.loads(path.read_text()) for path in sweep.rglob("0/wandb/**/*.boxes2D.json")]
    # the faces that are there, in a layer of their own
    assert any({box["class_id"] for box in layer["box_data"]} == {3} for layer in layers)


@pytest.mark.slow
def test_the_sweep_itself_is_a_run_with_a_table_of_its_jobs(sweep: Path) -> None:
    found = only(sweep / "sweep")
    assert found.job_type == "sweep"
    assert found.group == only(sweep / "sweep" / "0").group
    assert "trials" in found.logged
    assert any(name.startswith("plots/front_") for name in found.logged)


@pytest.mark.slow
def test_an_evaluation_and_a_search_know_the_training_that_they_began_with(sweep: Path) -> None:
    training = only(sweep / "sweep" / "0")
    (folder,) = (sweep / "sweep" / "0" / "evaluation").iterdir()
    evaluation = only(folder)
    assert (evaluation.job_type, evaluation.group) == ("evaluate", "eresfd-demo_faces")
    assert evaluation.name == "sweep-0-demo_faces"
    assert evaluation.config["made_from"] == [training.id]
    assert {"pictures", "precision_recall", "plots/pictures"} <= evaluation.logged
    assert "final/ap_hard" in evaluation.summary
    search = only(sweep / "search")
    assert search.job_type == "search"
    assert search.config["made_from"] == [training.id]
    assert "trials" in search.logged
    assert "rates" in search.artifacts.values()
    assert any(name.startswith("rates/g") for name in search.summary)
