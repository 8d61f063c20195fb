"""AveragedWeights: validation sees the average, the best of it ends the run, masks stay masks."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from secateur.callbacks.averaged_weights import AveragedWeights
from secateur.callbacks.soft_pruning import SoftPruningCallback
from secateur.pruning.pruner import Pruner
from secateur.pruning.schedule import Schedule
from secateur.pruning.settings import PruningSettings


class Task(pl.LightningModule):
    """Draws a number of its own in every step, and scores epochs as it is told."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))
        self.scores = scores
        self.seen: list[dict[str, Tensor]] = []
        self.steps: list[dict[str, Tensor]] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        self.steps.append(copy.deepcopy(self.network.state_dict()))
        return (self.network(batch[0]) - torch.randn(())).square().mean()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.seen.append(copy.deepcopy(self.network.state_dict()))
        self.log("holdout/ap_mean", self.scores[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(task: Task, *callbacks: Any, epochs: int = 3) -> None:
    pl.seed_everything(0, verbose=False)
    loader = DataLoader(TensorDataset(torch.randn(12, 2, 3, 3)), batch_size=4)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(callbacks),
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(task, loader, DataLoader(TensorDataset(torch.randn(1, 2, 3, 3))))


def test_validation_reads_the_average_and_training_goes_on_from_its_own_weights() -> None:
    task = Task([0.1, 0.2, 0.3])
    average = AveragedWeights(task.network, None, decay=0.9, monitor="holdout/ap_mean")
    fit(task, average)
    assert not torch.equal(task.seen[0]["0.weight"], task.steps[3]["0.weight"])
    # Weights after the first step are the start; the decay grows to its value from 0.
    expected = task.steps[1]["0.weight"]
    for step, state in enumerate((task.steps[2], task.steps[3]), start=1):
        expected = torch.lerp(expected, state["0.weight"], 1 - step / (step + 10))
    torch.testing.assert_close(task.seen[0]["0.weight"], expected)


def test_the_best_epoch_gives_the_weights_of_the_end() -> None:
    task = Task([0.1, 0.7, 0.3])
    average = AveragedWeights(task.network, None, monitor="holdout/ap_mean")
    fit(task, average)
    assert average.best_epoch == 1
    assert torch.equal(task.network.state_dict()["0.weight"], task.seen[1]["0.weight"])


def test_without_a_figure_the_last_average_is_the_end() -> None:
    task = Task([0.9, 0.7, 0.3])
    fit(task, AveragedWeights(task.network, None))
    assert torch.equal(task.network.state_dict()["0.weight"], task.seen[2]["0.weight"])


def test_masks_hold_in_the_average_and_soft_epochs_are_never_the_best() -> None:
    task = Task([0.9, 0.2, 0.1])
    example = (torch.zeros(1, 2, 3, 3),)
    pruner = Pruner(task.network, example, PruningSettings("l1", rate=0.5, exclude=["2"]))
    pruning = SoftPruningCallback(pruner, Schedule("soft", prune_epochs=2, finetune_epochs=1))
    average = AveragedWeights(task.network, pruning, monitor="holdout/ap_mean")
    fit(task, pruning, average)
    assert average.best_epoch == 1
    gone = ~pruning.keep["0"]
    for state in (task.seen[1], task.seen[2], task.network.state_dict()):
        assert float(state["0.weight"][gone].abs().max()) == 0


def test_a_checkpoint_holds_all_that_is_needed_to_go_on() -> None:
    task = Task([0.1, 0.2])
    average = AveragedWeights(task.network, None, monitor="holdout/ap_mean")
    fit(task, average, epochs=2)
    again = AveragedWeights(task.network, None, monitor="holdout/ap_mean")
    again.load_state_dict(average.state_dict())
    assert again.best_epoch == 1
    assert torch.equal(again.average["0.weight"], average.average["0.weight"])


def test_an_average_that_was_read_follows_the_network_to_its_device() -> None:
    network = nn.Linear(2, 2)
    average = AveragedWeights(network, None)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    average.load_state_dict(
        {
            "average": state,
            "best": state,
            "best_score": 0.5,
            "best_epoch": 3,
            "steps": 7,
            "renewals": 0,
        }
    )
    network.to("meta")  # the one other device that every machine has
    nothing: Any = None
    average.on_train_start(nothing, nothing)
    average.on_train_batch_end(nothing, nothing, None, None, 0)
    assert {t.device.type for t in (average.average | average.best).values()} == {"meta"}


def test_a_decay_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="decay"):
        AveragedWeights(nn.Linear(1, 1), None, decay=1.0)
