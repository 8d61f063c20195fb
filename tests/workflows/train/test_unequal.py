"""train.py with pruning.equal=false: a network of the user whose norms lose channels."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from secateur.data.synthetic.identity_set import write_drawn_identities
from secateur.pruning.artifact import load_slim
from secateur.reports.summary import NOT_EQUAL
from secateur.workflows.cli import run_command
from secateur.workflows.own_networks import builders
from secateur.workflows.train.training import train

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow


class Normed(nn.Module):
    """Convolutions behind group norms of one group, which normalise over all channels."""

    embedding_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, 2), nn.GroupNorm(1, 16), nn.ReLU()),
            *(nn.Conv2d(16, 16, 3, 2), nn.GroupNorm(1, 16), nn.ReLU()),
        )
        self.fc = nn.Linear(16, self.embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        """Embed (B, 3, S, S) as (B, 8)."""
        result: Tensor = self.fc(self.layers(images).mean((2, 3)))
        return result


MODEL = f"""# A network of the user: python train.py model=normed
name: normed
task: recognition
lightning:
  _target_: secateur.recognizers.task.RecognizerTask
  _partial_: true
  head: softmax
network:
  _target_: {Normed.__module__}.Normed
groups: {{all: ["layers.*"]}}
"""


def test_norms_lose_channels_only_where_it_is_asked_for_and_the_run_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_drawn_identities(tmp_path / "people", n_train=4, n_images=6, n_test=20)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "normed.yaml").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    settings = (
        *("model=normed", "data=lfw", f"data.root={tmp_path / 'people'}", "data.centre=1.0"),
        *("data.input_size=40", "data.batch_size=8", "data.num_workers=0", "trainer=cpu"),
        *("trainer.enable_progress_bar=false", "callbacks={}"),
        *("phases.dense_epochs=0", "phases.prune_epochs=1", "phases.finetune_epochs=0"),
        *("pruning=l1", "pruning.scope=coupled", "rate=0.5", "recover=none"),
    )
    command = [str(ROOT / "train.py"), *settings]
    monkeypatch.setattr(sys, "argv", [*command, "output_dir=refused"])
    with pytest.raises(SystemExit) as stopped:
        run_command("train", train)
    assert stopped.value.code == 2
    assert "equal=False lets such norms lose channels" in capsys.readouterr().err

    monkeypatch.setattr(sys, "argv", [*command, "output_dir=run", "pruning.equal=false"])
    run_command("train", train)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["slim_equal"] is False
    assert summary["slim_renormalized"] == "layers.1, layers.4"
    assert summary["slim_max_abs_diff"] < 1e-4
    slim = load_slim(tmp_path / "run", builders())
    assert [m.num_channels for m in slim.modules() if isinstance(m, nn.GroupNorm)] == [8, 8]
    assert slim(torch.zeros(1, 3, 40, 40)).shape == (1, 8)
    assert NOT_EQUAL in " ".join(capsys.readouterr().out.split())
    assert NOT_EQUAL[1:] in (tmp_path / "run" / "MODEL_CARD.md").read_text()
