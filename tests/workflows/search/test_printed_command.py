"""The command that a search prints, run as it is printed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from secateur.detectors.eresfd import EResFD
from secateur.recognizers.classification_heads import SoftmaxHead
from secateur.recognizers.squeezenet import SqueezeNet
from secateur.workflows.cli import run_command
from secateur.workflows.config.overrides import key_of
from secateur.workflows.search.rate_search import search
from secateur.workflows.train.training import train

ROOT = Path(__file__).parents[3]
PEOPLE = 6
SEARCHES = {
    "eresfd": ("data.n_train=10", "data.n_val=2", "target.sparsity=0.3"),
    "squeezenet": (
        *(f"+data.n_train={PEOPLE}", "+data.n_images=5", "+data.n_test=20"),
        *("search_size=40", "data.num_workers=0", "target.sparsity=0.18"),
    ),
}


def save_weights(path: Path, model: str) -> None:
    torch.manual_seed(0)
    parts = {"": EResFD().state_dict()}
    if model == "squeezenet":
        head = SoftmaxHead(1000, PEOPLE)
        parts = {"network.": SqueezeNet().state_dict(), "head.": head.state_dict()}
    save_file({f"{p}{k}": v.contiguous() for p, s in parts.items() for k, v in s.items()}, path)


@pytest.mark.slow
@pytest.mark.parametrize("model", SEARCHES)
def test_the_command_that_a_search_prints_runs_as_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str
) -> None:
    weights = tmp_path / "weights.safetensors"
    save_weights(weights, model)
    folder = tmp_path / "search"
    settings = (f"paths.data={tmp_path}/data", f"output_dir={folder}", "holdout=0.4")
    published = ("space=published", "pruning.exclude=none", "pruning.align=4", "debug=search")
    words = [f"model={model}", f"weights={weights}", *settings, *published, *SEARCHES[model]]
    monkeypatch.setattr(sys, "argv", [str(ROOT / "search.py"), *words, "n_trials=6"])
    run_command("search", search)

    printed = shlex.split((folder / "rates.yaml").read_text().splitlines()[1].lstrip("# "))
    assert printed[:2] == ["python", "train.py"]
    data = [word for word in SEARCHES[model] if key_of(word).startswith("data.")]
    assert set(data) <= set(printed)
    run = tmp_path / "run"
    shorter = ("debug=fast", "trainer=cpu", "trainer.enable_progress_bar=false")
    argv = [str(ROOT / "train.py"), *printed[2:], *shorter, f"output_dir={run}"]
    monkeypatch.setattr(sys, "argv", argv)
    run_command("train", train)

    assert (run / "summary.json").is_file()
    pruning = OmegaConf.load(run / "config.yaml").pruning
    assert (pruning.align, list(pruning.exclude), pruning.mask_batchnorm) == (4, [], False)
    rates = OmegaConf.load(folder / "rates.yaml").rates
    assert OmegaConf.load(run / "config.yaml").rates == rates
