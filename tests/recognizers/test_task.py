from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from secateur.data.pairs import Pairs
from secateur.learning_rate import RatesOnPlateau
from secateur.recognizers.task import RecognizerTask

N_IDENTITIES = 4


class TinyNetwork(nn.Module):
    embedding_size = 16

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 16, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images).relu().mean((2, 3))


class TinyData(pl.LightningDataModule):
    """People who differ by colour."""

    n_identities = N_IDENTITIES

    def __init__(self, held_out: int = 4) -> None:
        super().__init__()
        self.held_out = np.arange(held_out)
        first, second = np.array([0, 0, 2, 1]), np.array([1, 2, 3, 3])
        self.pairs = Pairs(
            first, second, np.array([True, False, True, False]), np.array([0, 0, 1, 1])
        )

    def images(self, labels: Tensor) -> Tensor:
        colors = torch.eye(N_IDENTITIES)[labels][:, :3] * 2
        return colors[:, :, None, None] + 0.05 * torch.randn(len(labels), 3, 8, 8)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        labels = torch.arange(N_IDENTITIES).repeat(16)
        return DataLoader(TensorDataset(self.images(labels), labels), batch_size=16)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        people = torch.tensor([0, 0, 1, 1, *range(len(self.held_out))])
        index = torch.tensor([0, 1, 2, 3, *[-1] * len(self.held_out)])
        label = torch.tensor([-1] * 4 + list(range(len(self.held_out))))
        return DataLoader(TensorDataset(self.images(people), index, label), batch_size=3)


def trainer(folder: Path, epochs: int = 1, **options: object) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(autouse=True)
def quiet() -> None:
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    torch.manual_seed(0)


@pytest.mark.parametrize("head", ["softmax", "arcface"])
def test_training_identifies_and_verifies(tmp_path: Path, head: str) -> None:
    task = RecognizerTask(
        TinyNetwork(),
        optimizer=partial(torch.optim.Adam, lr=0.05),
        head=head,  # type: ignore[arg-type]
        scale=16.0,
    )
    run = trainer(tmp_path, epochs=20, enable_checkpointing=False)
    run.fit(task, TinyData())
    assert run.callback_metrics["val/identified"] == 1
    assert run.callback_metrics["val/eer"] == 0
    assert run.callback_metrics["val/auc"] == 1
    assert run.callback_metrics["train/loss"] < 0.5


def test_without_a_head_only_verification_is_measured(tmp_path: Path) -> None:
    (values,) = trainer(tmp_path).validate(RecognizerTask(TinyNetwork()), TinyData(), verbose=False)
    assert {"val/eer", "val/auc", "val/accuracy"} <= values.keys()
    assert "val/identified" not in values


def test_nobody_held_out_means_no_identification(tmp_path: Path) -> None:
    task = RecognizerTask(TinyNetwork(), optimizer=partial(torch.optim.SGD, lr=0.1))
    run = trainer(tmp_path, enable_checkpointing=False)
    run.fit(task, TinyData(held_out=0))
    assert "val/identified" not in run.callback_metrics
    assert "val/eer" in run.callback_metrics


def test_head_of_a_checkpoint_is_used_for_the_same_people_only(tmp_path: Path) -> None:
    weights = {"weight": torch.randn(N_IDENTITIES, 16), "bias": torch.randn(N_IDENTITIES)}
    task = RecognizerTask(TinyNetwork(), head_weights=weights)
    (values,) = trainer(tmp_path).validate(task, TinyData(), verbose=False)
    assert task.head is not None
    assert torch.equal(task.head.state_dict()["bias"], weights["bias"])
    assert "val/identified" in values
    other = RecognizerTask(TinyNetwork(), head_weights={"weight": torch.zeros(9, 16)})
    trainer(tmp_path).validate(other, TinyData(), verbose=False)
    assert other.head is not None
    assert other.head.weight.shape == (N_IDENTITIES, 16)


def test_validation_may_come_before_training(tmp_path: Path) -> None:
    head = {"weight": torch.randn(N_IDENTITIES, 16), "bias": torch.zeros(N_IDENTITIES)}
    task = RecognizerTask(
        TinyNetwork(), optimizer=partial(torch.optim.SGD, lr=0.0), head_weights=head
    )
    run, data = trainer(tmp_path, enable_checkpointing=False), TinyData()
    (before,) = run.validate(task, data, verbose=False)
    run.fit(task, data)
    assert "val/identified" in before
    assert run.callback_metrics["val/identified"] == before["val/identified"]


def test_resume_restores_head_and_plateau(tmp_path: Path) -> None:
    def task() -> RecognizerTask:
        return RecognizerTask(
            TinyNetwork(),
            optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
            scheduler=partial(RatesOnPlateau, rates=[0.1, 0.01, 0.001], patience=1),
        )

    def fit(subject: RecognizerTask, epochs: int, checkpoint: Path | None) -> pl.Trainer:
        torch.manual_seed(1)
        run = trainer(tmp_path, epochs=epochs, enable_checkpointing=False)
        run.fit(subject, TinyData(), ckpt_path=checkpoint, weights_only=True)
        return run

    first = task()
    run = fit(first, 3, None)
    path = tmp_path / "last.ckpt"
    run.save_checkpoint(path)
    second = task()
    resumed = fit(second, 3, path)
    assert first.head is not None
    assert second.head is not None
    assert torch.equal(first.head.weight, second.head.weight)
    rates = [r.optimizers[0].param_groups[0]["lr"] for r in (run, resumed)]
    assert rates[0] == rates[1] < 0.1
