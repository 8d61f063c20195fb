"""Reports of a training to its trial, seen by the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import pytorch_lightning as pl
import torch
from optuna.pruners import ThresholdPruner
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from secateur.callbacks.trial_reporter import TrialReporter
from secateur.search.study import open_storage


class Counting(pl.LightningModule):
    """Logs the number of the epoch as its figure."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        loss: Tensor = self.layer(batch[0]).sum()
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        self.log("val/figure", float(self.current_epoch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(folder: Path, trial: dict[str, Any] | None) -> None:
    data = DataLoader(TensorDataset(torch.zeros(2, 1)))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=4,
        callbacks=[TrialReporter(folder, "val/figure", trial)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(Counting(), data, data)


def test_reports_and_stops(tmp_path: Path) -> None:
    storage = tmp_path / "study.journal"
    study = optuna.create_study(storage=open_storage(storage), study_name="some")
    study.ask()
    study.ask()
    trial = {"number": 0, "study": "some", "storage": str(storage)}
    fit(tmp_path, trial)
    with pytest.raises(optuna.TrialPruned, match="after epoch 2"):
        fit(tmp_path, {**trial, "number": 1, "pruner": ThresholdPruner(upper=1.5)})
    first, second = study.trials
    assert first.intermediate_values == {0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0}
    assert second.intermediate_values == {0: 0.0, 1: 1.0, 2: 2.0}
    assert first.user_attrs == {"folder": str(tmp_path)}


def test_nothing_outside_a_sweep(tmp_path: Path) -> None:
    fit(tmp_path, None)
    assert list(tmp_path.iterdir()) == []
