"""What a training step logs, and when it stops the training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from secateur.errors import InputError
from secateur.training_steps import log_training_loss


class Task:
    """Keeps what it is asked to log."""

    def __init__(self) -> None:
        groups = [{"lr": 1e-3, "initial_lr": 1e-2}]
        self.trainer = SimpleNamespace(
            optimizers=[SimpleNamespace(param_groups=groups)], current_epoch=3
        )
        self.logged: dict[str, tuple[float, dict[str, Any]]] = {}

    def log(self, name: str, value: torch.Tensor, **options: object) -> None:
        assert not value.requires_grad
        self.logged[name] = float(value), options

    def log_dict(self, values: dict[str, torch.Tensor], **options: object) -> None:
        for name, value in values.items():
            self.log(name, value, **options)


def test_loss_and_terms_are_means_of_the_epoch_and_the_bar_shows_the_latest() -> None:
    task = Task()
    loss = torch.tensor(3.0, requires_grad=True) * 1
    log_training_loss(task, loss, {"location": loss / 3}, 0, 8)  # type: ignore[arg-type]
    assert {name: value for name, (value, _) in task.logged.items()} == {
        "train/loss": 3.0,
        "train/location": 1.0,
        "loss": 3.0,
    }
    assert task.logged["train/loss"][1]["on_epoch"] is True
    assert task.logged["loss"][1]["prog_bar"] is True
    assert all(options["batch_size"] == 8 for _, options in task.logged.values())


def test_loss_that_is_no_number_stops_the_training_and_names_a_lower_rate() -> None:
    with pytest.raises(InputError, match=r"epoch 3, batch 5: .*optimizer\.lr=0\.001"):
        log_training_loss(Task(), torch.tensor(torch.nan), {}, 5, 8)  # type: ignore[arg-type]
