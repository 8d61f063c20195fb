"""docs/howto/own_project.md, followed to the letter in an empty folder, without a line of src/."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from pytorch_lightning.callbacks import EarlyStopping

from secateur.workflows.build import build_network
from secateur.workflows.train.trainer import build_callback

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "own_project.md"
ROOT = PAGE.parents[2]
FILE = re.compile(r"`([\w./]+\.\w+)`[^`\n]*:\n\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILE.findall(PAGE.read_text(encoding="utf-8")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def composed(project: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", [f"hydra.searchpath=['file://{project}/conf']", *overrides])


def test_the_network_is_built_by_its_path_and_embeds(project: Path) -> None:
    config = composed(project, "model=tiny")
    network, architecture = build_network(config)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 32)
    assert architecture["name"] == "nets.Tiny"
    assert config.data.name == "demo_identities"


def test_the_stock_callback_is_made_beside_those_that_are_there(project: Path) -> None:
    config = composed(project, "model=tiny", "callbacks=mine")
    made = build_callback("callbacks.early_stopping", config.callbacks.early_stopping, project)
    assert isinstance(made, EarlyStopping)
    assert (made.monitor, made.mode) == ("val/eer", "min")
    assert len(config.callbacks) > 1


@pytest.mark.slow
def test_both_train_to_the_end_with_the_installed_command(project: Path) -> None:
    line = [sys.executable, "-c", "from secateur.workflows.cli import main; main()", "train"]
    line += ["model=tiny", "callbacks=mine", "debug=fast", "trainer=cpu", "output_dir=run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(line, check=True, cwd=project, env=environment, timeout=1500)
    assert '"nets.Tiny"' in (project / "run" / "model.json").read_text()
