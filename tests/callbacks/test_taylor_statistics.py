"""TaylorStatisticsCallback: the pruner scores by the epoch that was just trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from secateur.callbacks.soft_pruning import SoftPruningCallback
from secateur.callbacks.taylor_statistics import TaylorStatisticsCallback
from secateur.pruning.pruner import Pruner
from secateur.pruning.schedule import Schedule
from secateur.pruning.settings import PruningSettings
from tests.ddp import run_processes

EXAMPLE = (torch.zeros(1, 3, 8, 8),)


class Task(pl.LightningModule):
    """A regression on noise, without learning when the rate is 0."""

    def __init__(self, lr: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lr = lr
        self.network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 4, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, targets = batch
        return nn.functional.mse_loss(self.network(images), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def fit(
    criterion: str,
    schedule: Schedule,
    parts: slice = slice(None),
    lr: float = 0.0,
    **options: Any,
) -> tuple[Task, Pruner]:
    task = Task(lr)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(16, 3, 8, 8, generator=generator)[parts]
    targets = torch.randn(16, 4, generator=generator)[parts]
    loader = DataLoader(TensorDataset(images, targets), batch_size=4)
    pruner = Pruner(task.network, EXAMPLE, PruningSettings(criterion, rate=0.5, exclude=["2"]))
    callbacks = [
        TaylorStatisticsCallback(pruner, schedule),
        SoftPruningCallback(pruner, schedule),
    ]
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=schedule.total_epochs,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )
    trainer.fit(task, loader)
    return task, pruner


@pytest.mark.parametrize("criterion", ["taylor", "taylor_weight"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_pruned_filters_have_the_lowest_mean_score(criterion: str, accumulate: int) -> None:
    schedule = Schedule("soft", dense_epochs=1, prune_epochs=1)
    task, pruner = fit(criterion, schedule, accumulate_grad_batches=accumulate)
    scores = pruner.statistics["0"]
    gone = ~task.network[0].weight.flatten(1).any(1)
    assert int(gone.sum()) == 4
    assert scores[gone].max() < scores[~gone].min()
    assert not task.network[0]._forward_hooks


def test_oneshot_reads_the_last_dense_epoch() -> None:
    task, _ = fit("taylor", Schedule("oneshot", dense_epochs=1, prune_epochs=0, finetune_epochs=1))
    assert int((~task.network[0].weight.flatten(1).any(1)).sum()) == 4


def test_iterative_never_gives_a_filter_back() -> None:
    schedule = Schedule("iterative", prune_epochs=3, finetune_epochs=1)
    task, _ = fit("taylor", schedule, lr=0.05)
    assert int((~task.network[0].weight.flatten(1).any(1)).sum()) == 4


def test_state_is_plain_and_comes_back(tmp_path: Path) -> None:
    _, pruner = fit("taylor", Schedule("soft", prune_epochs=1))
    schedule = Schedule("soft", prune_epochs=1)
    torch.save(TaylorStatisticsCallback(pruner, schedule).state_dict(), tmp_path / "state.pt")
    fresh = Pruner(Task(0.0).network, EXAMPLE, PruningSettings("taylor", rate=0.5, exclude=["2"]))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    TaylorStatisticsCallback(fresh, schedule).load_state_dict(state)
    assert torch.equal(fresh.statistics["0"], pruner.statistics["0"])


def statistics_of(rank: int, n_processes: int) -> dict[str, Any]:
    """What one of two processes holds after an epoch on its half of the batches."""
    half = slice(8 * rank, 8 * rank + 8)
    _, pruner = fit(
        "taylor",
        Schedule("soft", prune_epochs=1),
        half,
        strategy="ddp",
        devices=1,
        num_nodes=n_processes,
        plugins=[Joined(rank, n_processes)],
    )
    return {"scores": pruner.statistics["0"]}


class Joined(LightningEnvironment):
    """Processes that have met already."""

    def __init__(self, rank: int, n_processes: int) -> None:
        super().__init__()
        self._rank, self._size = rank, n_processes

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def world_size(self) -> int:
        return self._size

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return self._rank

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return 0

    def node_rank(self) -> int:
        return self._rank


@pytest.mark.slow
def test_two_processes_agree_with_one() -> None:
    _, alone = fit("taylor", Schedule("soft", prune_epochs=1))
    for result in run_processes(statistics_of):
        torch.testing.assert_close(result["scores"], alone.statistics["0"])
