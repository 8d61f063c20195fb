"""The distilling task of recognizers: what a batch teaches, and what stays as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from secateur.recognizers.squeezenet import SqueezeNet
from secateur.recovery.recognizer_task import DistilledRecognizerTask
from tests.recovery.conftest import Logged


class _Logged(Logged, DistilledRecognizerTask):  # type: ignore[misc]  # log takes anything
    """The task outside of a Trainer."""


def recognizer(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return SqueezeNet()


def task(student: nn.Module, teacher: nn.Module | None, **options: Any) -> _Logged:
    made = _Logged(student, teacher, **options)
    made.head = made._make_head(3)
    return made


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 48, 48, generator=generator), torch.tensor([0, 2])


def test_a_student_equal_to_its_teacher_is_not_pulled() -> None:
    student = recognizer().eval()
    made = task(student, copy.deepcopy(student))
    made.training_step(batch(), 0)
    assert made.logged["distilled_embedding"] == pytest.approx(0, abs=1e-6)
    assert made.logged["loss"] == pytest.approx(made.logged["identification"], abs=1e-6)


def test_without_teacher_only_labels_teach() -> None:
    made = task(recognizer(), None)
    made.training_step(batch(), 0)
    assert set(made.logged) == {"loss", "identified", "identification"}


@pytest.mark.parametrize("frozen", [True, False])
def test_batch_norms_are_frozen_on_demand_though_nobody_called_train(frozen: bool) -> None:
    # Lightning leaves a task in the mode in which it finds it, and a new network trains.
    student = recognizer().train()
    before = {name: buffer.clone() for name, buffer in student.named_buffers()}
    made = task(student, recognizer(1), freeze_batchnorm=frozen)
    made.training_step(batch(), 0)
    assert before
    kept = [torch.equal(buffer, before[name]) for name, buffer in student.named_buffers()]
    assert all(kept) if frozen else not any(kept)
