from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from secateur.callbacks.dense_weights import DenseWeights
from secateur.callbacks.pruning_curve import PruningCurve
from secateur.callbacks.soft_pruning import SoftPruningCallback
from secateur.callbacks.step_saver import StepSaver
from secateur.metrics.embedding_file import read_embeddings
from secateur.metrics.embeddings import compare_pairs
from secateur.metrics.verification import verify
from secateur.pruning.artifact import load_slim
from secateur.pruning.pruner import Pruner
from secateur.pruning.schedule import Schedule
from secateur.pruning.settings import PruningSettings
from secateur.recognizers.task import RecognizerTask
from secateur.weights.dense import read_architecture
from tests.recognizers.test_task import TinyData

ARCHITECTURE: dict[str, Any] = {"name": "two", "arguments": {"width": 12}}
NAMES = ["00", "01", "02", "03", "final"]


class TwoLayers(nn.Module):
    embedding_size = 6

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.last = nn.Conv2d(width, 6, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.norm(self.first(images)).relu()).mean((2, 3))


class NamedData(TinyData):
    """TinyData whose pictures have names and do not change from epoch to epoch."""

    picture_names = ("a", "b", "c", "d")

    def images(self, labels: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(len(labels))
        colors = torch.eye(4)[labels][:, :3, None, None]
        return colors + 0.3 * torch.randn(len(labels), 3, 8, 8, generator=generator)

    def validation_images(self, count: int) -> list[Tensor]:
        return list(self.images(torch.tensor([0, 0, 1, 1, *range(len(self.held_out))]))[:count])


def fit(
    folder: Path, *, save_steps: bool = True, stop: int | None = None, resume: Path | None = None
) -> tuple[pl.Trainer, RecognizerTask, PruningCurve]:
    """Four phases of pruning by steps; ``stop`` ends after that many epochs."""
    torch.manual_seed(0)
    task = RecognizerTask(TwoLayers(12), optimizer=lambda p: torch.optim.SGD(p, lr=0.05))
    pruner = Pruner(
        task.network, (torch.zeros(1, 3, 8, 8),), PruningSettings("l1", 0.5, exclude=["last"])
    )
    schedule = Schedule("iterative", dense_epochs=1, prune_epochs=3, finetune_epochs=2)
    curve = PruningCurve(folder, "val/eer", save_steps)
    curve.saver = StepSaver(folder, ARCHITECTURE, {"two": TwoLayers}, 8)
    dense = DenseWeights(folder / "checkpoints", ARCHITECTURE, schedule)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=stop or schedule.total_epochs,
        logger=False,
        callbacks=[SoftPruningCallback(pruner, schedule), dense, curve],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, NamedData(), ckpt_path=resume, weights_only=True)
    return trainer, task, curve


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "curve.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_every_step_is_a_network_and_its_embeddings(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: {}\n")
    _, task, _ = fit(tmp_path)
    rows = rows_of(tmp_path)
    assert [row["folder"] for row in rows] == [f"steps/{name}" for name in NAMES]
    assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == NAMES
    sizes = [int(row["parameters"]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == sum(p.numel() for p in task.network.parameters())
    assert int(rows[-1]["macs"]) < int(rows[0]["macs"])
    data = NamedData()
    for row in rows:
        folder = tmp_path / row["folder"]
        network = load_slim(folder, {"two": TwoLayers})
        assert sum(p.numel() for p in network.parameters()) == int(row["parameters"])
        found = read_embeddings(folder / "embeddings.safetensors")
        assert found.pictures == data.picture_names
        with torch.inference_mode():
            expected = network(torch.stack(data.validation_images(3)))
        torch.testing.assert_close(found.embeddings[:3], expected, atol=1e-5, rtol=1e-4)
        scores = compare_pairs(found.embeddings, found.first, found.second)
        assert found.fold is not None
        figures = verify(scores.numpy(), found.same.numpy(), found.fold.numpy()).record()
        for name in ("accuracy", "eer", "auc"):
            assert float(row[name]) == pytest.approx(figures[name])
        assert (folder / "config.yaml").is_file()


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_saving_changes_no_training_and_a_resumed_run_ends_alike(tmp_path: Path) -> None:
    _, whole, curve = fit(tmp_path / "whole")
    _, bare, without = fit(tmp_path / "bare", save_steps=False)
    for one, other in zip(whole.state_dict().values(), bare.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert not (tmp_path / "bare" / "steps").exists()
    assert [point.figures for point in without.points] == [p.figures for p in curve.points]
    trainer, _, _ = fit(tmp_path / "cut", stop=3)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    fit(tmp_path / "cut", resume=tmp_path / "last.ckpt")
    table = (tmp_path / "cut" / "curve.csv").read_text()
    assert table == (tmp_path / "whole" / "curve.csv").read_text()
    for name in NAMES:
        one, other = (
            (tmp_path / run / "steps" / name / "model.safetensors").read_bytes()
            for run in ("whole", "cut")
        )
        assert one == other


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_weights_of_the_end_of_the_dense_phase(tmp_path: Path) -> None:
    _, task, _ = fit(tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "dense.safetensors"
    assert read_architecture(path) == ARCHITECTURE
    from safetensors.torch import load_file

    tensors = load_file(path)
    assert {name.split(".")[0] for name in tensors} == {"network", "head"}
    dense = load_slim(tmp_path / "run" / "steps" / "00", {"two": TwoLayers})
    assert torch.equal(tensors["network.first.weight"], dense.state_dict()["first.weight"])
    assert not torch.equal(
        tensors["network.first.weight"], task.network.state_dict()["first.weight"]
    )  # type: ignore[operator]
