from __future__ import annotations

import logging
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.demos.boring_classes import BoringModel
from torch import Tensor

from secateur.callbacks.progress_line import LoggedProgress, ProgressLine, build_progress


class Task(BoringModel):
    """Logs as detectors do."""

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.layer(batch).square().mean()
        self.log("loss", 8.675309 + 0 * loss, prog_bar=True, logger=False)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        for name in ("ap_easy", "ap_medium", "ap_hard"):
            self.log(f"val/{name}", torch.tensor(0.123456), prog_bar=True)


def trainer(folder: Path, line: pl.callbacks.ProgressBar) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=130,
        limit_train_batches=2,
        limit_val_batches=1,
        max_steps=4,
        logger=False,
        callbacks=[line],
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )


def test_an_epoch_takes_one_line_of_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    trainer(tmp_path, ProgressLine("val/ap_hard")).fit(Task())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert "loss: 8.675 ap_hard: 0.123" in lines[-1]
    assert sum("Epoch 1" in line for line in lines) == 1
    assert not any("ap_easy" in line for line in lines)


def test_a_validation_is_called_by_the_name_of_its_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(tmp_path, ProgressLine(validates="slim network")).validate(Task(), verbose=False)
    shown = capsys.readouterr().out
    assert "slim network" in shown
    assert "Validation" not in shown


def test_a_log_has_lines_with_step_epoch_loss_and_figure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    line = build_progress("val/ap_hard")
    assert isinstance(line, LoggedProgress)  # standard output of a test is no terminal
    running = trainer(tmp_path, line)
    running.fit_loop.max_epochs = 2
    with caplog.at_level(logging.INFO):
        running.fit(Task())
    assert any(
        "training: step 4 of 4 · epoch 2 · loss 8.675 ap_hard 0.123" in said
        for said in caplog.messages
    )
    assert "━" not in capsys.readouterr().out


def test_a_validation_in_a_log_is_called_by_the_name_of_its_network(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        trainer(tmp_path, LoggedProgress(validates="slim network")).validate(Task(), verbose=False)
    assert any("slim network: batch 1 of 1" in said for said in caplog.messages)


def test_processes_but_the_first_say_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = LoggedProgress()
    line.disable()
    with caplog.at_level(logging.INFO):
        trainer(tmp_path, line).validate(Task(), verbose=False)
    assert not any("Validation: batch" in said for said in caplog.messages)
