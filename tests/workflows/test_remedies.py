"""What a sentence tells the user to do works when it is done."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from secateur.workflows.cli import run_command
from tests.faults.commands import draw_people, train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn people and a configuration folder with a tiny model."""
    base = tmp_path_factory.mktemp("remedies")
    draw_people(base)
    return base


@pytest.fixture(autouse=True)
def at_home(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base)


def command(
    base: Path,
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *more: str,
) -> str:
    """Give a command; what it says if it fails, else nothing."""
    arguments = train(base / folder, base / "people", "data.num_workers=0", *more)
    monkeypatch.setattr(sys, "argv", arguments)
    status: object = 0
    try:
        run_command("train")
    except SystemExit as stopped:
        status = stopped.code
    assert status in (0, 2)
    return capsys.readouterr().err.strip().splitlines()[-1] if status else ""


def test_a_loss_that_is_no_number(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = command(base, "nan", monkeypatch, capsys, "optimizer.lr=1e30")
    found = re.search(r"give the command again with (optimizer\.lr=\S+), which begins", said)
    assert found, said
    assert "another output_dir" in said
    assert not command(base, "lower", monkeypatch, capsys, found[1])
    assert (base / "lower" / "summary.json").exists()


def test_an_override_that_does_not_parse(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = command(base, "name", monkeypatch, capsys, "data.name=a=b")
    found = re.match(r"error: data\.name=a=b cannot be read .*: put quotes .*as in '(.*)'$", said)
    assert found, said
    assert not command(base, "name", monkeypatch, capsys, found[1], "--cfg", "job")


@pytest.mark.slow
def test_checkpoints_that_are_all_damaged(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not command(base, "run", monkeypatch, capsys)
    whole = json.loads((base / "run" / "summary.json").read_text())
    (base / "run" / "summary.json").unlink()
    for path in (base / "run" / "checkpoints").glob("*.ckpt"):
        path.write_bytes(path.read_bytes()[:1000])
    said = command(base, "run", monkeypatch, capsys)
    found = re.search(r"no checkpoint in (\S+) is intact .*: delete that folder and give", said)
    assert found, said
    shutil.rmtree(found[1])
    assert not command(base, "run", monkeypatch, capsys)
    assert json.loads((base / "run" / "summary.json").read_text())["eer"] == whole["eer"]


@pytest.mark.slow
def test_a_checkpoint_of_another_network(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not command(base, "other", monkeypatch, capsys)
    (base / "other" / "summary.json").unlink()
    assert not command(base, "wider", monkeypatch, capsys, "model.network.width=12")
    for name in ("last.ckpt", "previous.ckpt"):
        shutil.copy(base / "wider" / "checkpoints" / name, base / "other" / "checkpoints" / name)
    said = command(base, "other", monkeypatch, capsys)
    found = re.search(r"belongs to another network .*: delete the folder (\S+) and give", said)
    assert found, said
    shutil.rmtree(found[1])
    assert not command(base, "other", monkeypatch, capsys)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("trainer.limit_val_batches=0",),
        ("trainer.precision=bf16-true",),
        ("data.num_workers=4", "trainer.limit_train_batches=1"),
        ("trainer.limit_val_batches=1", "data.eval_batch_size=1"),
    ],
)
def test_options_of_lightning(
    options: tuple[str, ...],
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = re.sub(r"\W", "_", "-".join(options))
    assert not command(base, folder, monkeypatch, capsys, *options)
    assert "params_slim" in json.loads((base / folder / "summary.json").read_text())
