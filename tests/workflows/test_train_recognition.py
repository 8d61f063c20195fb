"""train.py on recognisers: every phase, the run folder, resume, and weights of an earlier run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from secateur.callbacks.soft_pruning import SoftPruningCallback
from secateur.data.synthetic.identity_set import write_drawn_identities
from secateur.pruning.artifact import load_slim
from secateur.recognizers.squeezenet import SqueezeNet
from secateur.weights.architectures import BUILDERS
from secateur.workflows.cli import run_command
from secateur.workflows.evaluate.faces import evaluate
from secateur.workflows.train.training import train

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set in the layout of LFW."""
    root = tmp_path_factory.mktemp("people") / "set"
    write_drawn_identities(root, n_train=4, n_images=6, n_test=20)
    return root


def run(
    monkeypatch: pytest.MonkeyPatch, people: Path, folder: Path, *overrides: str
) -> dict[str, Any]:
    """Run train.py in this process and return its summary."""
    settings = (
        *("data=lfw", f"data.root={people}", "data.centre=1.0", "data.input_size=40"),
        *("data.batch_size=8", "data.num_workers=0", "trainer=cpu", "callbacks={}"),
        *("trainer.enable_progress_bar=false", f"output_dir={folder}"),
        *("phases.dense_epochs=1", "phases.prune_epochs=1", "phases.finetune_epochs=1"),
    )
    monkeypatch.setattr(sys, "argv", [str(ROOT / "train.py"), *settings, *overrides])
    run_command("train", train)
    record: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return record


def test_taylor_on_squeezenet_from_scratch_and_from_its_weights(
    monkeypatch: pytest.MonkeyPatch, people: Path, tmp_path: Path
) -> None:
    dense = run(monkeypatch, people, tmp_path / "dense", "model=squeezenet", "pruning=none")
    assert dense["params_slim"] == dense["params_dense"] == 1_243_384
    record = run(
        monkeypatch,
        people,
        tmp_path / "pruned",
        *("model=squeezenet", "pruning=taylor", "rate=0.3", "data.holdout=0.2"),
        f"weights={tmp_path / 'dense' / 'checkpoints' / 'last.ckpt'}",
    )
    assert record["task"] == "recognition"
    assert record["slim_max_abs_diff"] < 1e-4
    assert record["params_slim"] < 0.65 * record["params_dense"]
    stages = {f"{name}{stage}" for name in ("eer", "auc", "accuracy")
              for stage in ("", "_start", "_masked", "_reconstructed")}  # fmt: skip
    assert stages <= record.keys()
    assert record["eer_start"] == pytest.approx(dense["eer"])  # the weights that it started from
    assert "identified_start" in record  # with the head that came along
    assert "protocol" not in record
    slimmed = load_slim(tmp_path / "pruned", BUILDERS)
    assert isinstance(slimmed, SqueezeNet)
    with torch.inference_mode():
        assert slimmed(torch.zeros(1, 3, 113, 113)).shape == (1, 1000)
    settings = (f"run={tmp_path / 'pruned'}", "trainer=cpu", "trainer.enable_progress_bar=false")
    monkeypatch.setattr(sys, "argv", [str(ROOT / "evaluate.py"), *settings])
    run_command("evaluate", evaluate)
    folder = tmp_path / "pruned" / "evaluation"
    evaluation = json.loads((folder / "verification.json").read_text())
    assert evaluation["eer"] == pytest.approx(record["eer"])
    assert evaluation["parameters"] == record["params_slim"]
    assert evaluation["unsupported"].keys() >= {"tar_at_far_1e-3"}
    # curve and thresholds of the run are those of its slim network, not of an earlier stage
    run_folder = tmp_path / "pruned"
    thresholds = json.loads((run_folder / "verification.json").read_text())["thresholds"]
    assert thresholds == pytest.approx(evaluation["thresholds"])
    assert (run_folder / "roc.csv").read_text() == (folder / "roc.csv").read_text()
    assert {path.name for path in (folder / "plots").iterdir()} == {
        "roc.png",
        "det.png",
        "scores.png",
    }


def test_mobilenet_with_a_margin_in_coupled_scope_by_steps(
    monkeypatch: pytest.MonkeyPatch, people: Path, tmp_path: Path
) -> None:
    record = run(
        monkeypatch,
        people,
        tmp_path / "run",
        *("model=mobilenet_v2", "model.lightning.head=arcface", "pruning=l1", "rate=0.5"),
        *("pruning.scope=coupled", "pruning.schedule=iterative", "phases.prune_epochs=2"),
        *("optimizer=sgd", "optimizer.lr=0.01", "scheduler=plateau", "callbacks=pruning_curve"),
    )
    assert record["params_slim"] < 0.6 * record["params_dense"]
    assert (tmp_path / "run" / "curve.csv").read_text().count("prune") == 2


def test_run_that_was_cut_goes_on(
    monkeypatch: pytest.MonkeyPatch, people: Path, tmp_path: Path
) -> None:
    names = ("model=squeezenet", "pruning=fpgm", "rate=0.3", "data.holdout=0.2")
    whole = run(monkeypatch, people, tmp_path / "whole", *names)
    folder = tmp_path / "cut"

    def stop(callback: SoftPruningCallback, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        if trainer.current_epoch == 2:
            raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(SoftPruningCallback, "on_train_epoch_start", stop)
        with pytest.raises(RuntimeError, match="the power went"):
            run(monkeypatch, people, folder, *names)
    resumed = run(monkeypatch, people, folder, *names)
    assert resumed["params_slim"] == whole["params_slim"]
    assert resumed["eer"] == pytest.approx(whole["eer"], abs=1e-6)
    assert resumed["eer_start"] == pytest.approx(whole["eer_start"], abs=1e-6)
