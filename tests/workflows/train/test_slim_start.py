"""Runs that start from a slim network: it is trained on, pruned again, and keeps its kind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from secateur import load
from secateur.data.synthetic.face_set import write_drawn_set
from secateur.detectors.eresfd import EResFD
from secateur.pruning.artifact import load_slim, save_slim
from secateur.pruning.prune import prune
from secateur.reports.comparison.runs import collect_runs
from secateur.weights.architectures import BUILDERS
from secateur.workflows.cli import run_command
from secateur.workflows.train.training import train

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def slim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slim EResFD of random weights."""
    folder = tmp_path_factory.mktemp("slim")
    torch.manual_seed(0)
    result = prune(
        EResFD(), torch.zeros(1, 3, 64, 64), rate=0.3, scope="coupled", exclude=["loc.*", "conf.*"]
    )
    save_slim(folder, result.model, {"name": "eresfd", "arguments": {}})
    return folder


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *overrides: str) -> None:
    root = folder / "set"
    write_drawn_set(root, n_train=4, n_val=2, seed=0)
    settings = (
        *(f"output_dir={folder / 'run'}", "trainer=cpu", "trainer.enable_progress_bar=false"),
        *("data=widerface", f"data.root={root}", "data.input_size=64", "data.batch_size=2"),
        *(
            "data.num_workers=0",
            "callbacks=none",
            "recover.pictures=2",
            "recover.holdout=0.25",
            *overrides,
        ),
    )
    monkeypatch.setattr(sys, "argv", [str(ROOT / "train.py"), *settings])
    run_command("train", train)


def parameters(path: Path) -> int:
    return sum(tensor.numel() for tensor in load_slim(path, BUILDERS).parameters())


def test_a_slim_network_is_trained_on_with_a_teacher(
    monkeypatch: pytest.MonkeyPatch, slim: Path, tmp_path: Path
) -> None:
    teacher = f"recover.teacher={slim}"
    short = "phases.recovering.finetune_epochs=0"
    run(monkeypatch, tmp_path, "model=eresfd", "pruning=none", f"weights={slim}", teacher, short)
    before, after = load_slim(slim, BUILDERS), load_slim(tmp_path / "run", BUILDERS)
    assert parameters(tmp_path / "run") == parameters(slim)
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)
    assert load(tmp_path / "run") is not None


def test_a_slim_network_is_pruned_again(
    monkeypatch: pytest.MonkeyPatch, slim: Path, tmp_path: Path
) -> None:
    pruning = ("pruning=fpgm", "pruning.scope=coupled", "rate=0.3")
    short = "phases.recovering.finetune_epochs=0"
    run(monkeypatch, tmp_path, "model=eresfd", f"weights={slim}", *pruning, short)
    assert parameters(tmp_path / "run") < 0.8 * parameters(slim)
    # precision and recall of the slim network, for comparisons
    found = collect_runs([tmp_path / "run"]).runs[0]
    assert "ap_hard" in found.record
    assert "hard" in found.precision_recall
    assert (tmp_path / "run" / "plots" / "precision_recall.png").is_file()


def test_a_slim_network_of_another_model_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    slim: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path, "model=extd_32", f"weights={slim}")
    said = capsys.readouterr().err
    assert "is a slim eresfd, and model= builds a extd: name the model that it" in said
