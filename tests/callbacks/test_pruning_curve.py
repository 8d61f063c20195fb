from __future__ import annotations

import csv
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from secateur.callbacks.pruning_curve import PruningCurve
from secateur.callbacks.soft_pruning import SoftPruningCallback
from secateur.pruning.pruner import Pruner
from secateur.pruning.schedule import Schedule, ScheduleKind
from secateur.pruning.settings import PruningSettings
from tests.callbacks.test_soft_pruning import EXAMPLE, Task


def fit(folder: Path, kind: ScheduleKind) -> PruningCurve:
    torch.manual_seed(0)
    task = Task()
    pruner = Pruner(task.network, EXAMPLE, PruningSettings("l1", 0.5))
    schedule = Schedule(kind, dense_epochs=2, prune_epochs=4, finetune_epochs=2)
    curve = PruningCurve(folder, "val/ap_hard")
    data = DataLoader(TensorDataset(torch.randn(8, 3, 8, 8), torch.randn(8, 4)), batch_size=4)
    pl.Trainer(
        accelerator="cpu",
        max_epochs=schedule.total_epochs,
        logger=False,
        callbacks=[SoftPruningCallback(pruner, schedule), curve],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    ).fit(task, data, data)
    return curve


def test_curve_has_a_point_per_step_and_one_at_each_end(tmp_path: Path) -> None:
    fit(tmp_path, "iterative")
    with (tmp_path / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["phase"] for row in rows] == ["dense", "prune", "prune", "prune", "prune", "hold"]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 7]
    removed = [float(row["filters_removed"]) for row in rows]
    # 12 filters: floor(rate * fraction * n) of 8 and of 4
    assert removed == pytest.approx([0, 1 / 12, 3 / 12, 4 / 12, 6 / 12, 6 / 12])
    assert [float(row["ap_hard"]) for row in rows] == [1, 2, 3, 4, 5, 7]
    assert (tmp_path / "plots" / "curve.png").stat().st_size > 1000


def test_points_survive_a_checkpoint(tmp_path: Path) -> None:
    curve = fit(tmp_path, "gradual")
    torch.save(curve.state_dict(), tmp_path / "state.pt")
    again = PruningCurve(tmp_path, "val/ap_hard")
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert again.points == curve.points


def test_masks_that_do_not_grow_make_no_curve(tmp_path: Path) -> None:
    assert fit(tmp_path, "soft").points == []
    assert not (tmp_path / "curve.csv").exists()
