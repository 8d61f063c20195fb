"""Bad input to train.py: one sentence that names the offender, exit status 2, no traceback."""

from __future__ import annotations

import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch

from secateur.data.synthetic.face_set import write_drawn_set
from secateur.detectors.extd import EXTD
from secateur.workflows.cli import run_command
from secateur.workflows.train.training import train

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set in the WIDER FACE layout."""
    root = tmp_path_factory.mktemp("drawn") / "set"
    write_drawn_set(root, n_train=6, n_val=2, seed=0)
    return root


def fail(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    outputs: Path,
    *overrides: str,
) -> str:
    """Run train.py in this process and return what it says on standard error."""
    settings = (f"paths.outputs={outputs}", "trainer=cpu", "trainer.enable_progress_bar=false")
    monkeypatch.setattr(sys, "argv", [str(ROOT / "train.py"), *settings, *overrides])
    with pytest.raises(SystemExit) as stopped:
        run_command("train", train)
    assert stopped.value.code == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    return said[0]


def test_rate_out_of_range(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = fail(monkeypatch, capsys, tmp_path, "rate=1.2")
    assert "rate must be at least 0 and below 1, got 1.2" in said


def test_half_precision_throughout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = fail(monkeypatch, capsys, tmp_path, "trainer.precision=bf16-true")
    assert "take trainer.precision=bf16-mixed" in said
    assert not any(tmp_path.iterdir())


def test_unknown_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = fail(monkeypatch, capsys, tmp_path, "model=nope")
    assert "model=nope does not exist" in said
    assert "eresfd" in said


def test_unknown_group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = fail(monkeypatch, capsys, tmp_path, "+rates.g9=0.2")
    assert "'g9'" in said
    assert "g1, g2, g3, g4, g5, g6" in said
    assert "g9" in fail(monkeypatch, capsys, tmp_path, "rates.g9=0.2")


def test_missing_data_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "data.root is not set" in fail(monkeypatch, capsys, tmp_path, "data=widerface")
    missing = tmp_path / "nowhere"
    said = fail(monkeypatch, capsys, tmp_path, "data=widerface", f"data.root={missing}")
    assert str(missing) in said


def test_annotation_cut_in_the_middle_of_an_entry(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    drawn: Path,
) -> None:
    root = tmp_path / "cut"
    shutil.copytree(drawn, root)
    path = root / "wider_face_split" / "wider_face_train_bbx_gt.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:5]]) + "\n")
    said = fail(monkeypatch, capsys, tmp_path, "data=widerface", f"data.root={root}")
    assert path.name in said


def test_truncated_picture(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    drawn: Path,
) -> None:
    root = tmp_path / "half"
    shutil.copytree(drawn, root)
    for picture in (root / "WIDER_train").rglob("*.jpg"):
        content = picture.read_bytes()
        picture.write_bytes(content[: len(content) // 2])
    said = fail(
        monkeypatch,
        capsys,
        tmp_path,
        "data=widerface",
        f"data.root={root}",
        "data.num_workers=0",
        "data.batch_size=2",
        "data.input_size=64",
    )
    assert ".jpg" in said


def test_checkpoint_of_another_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "extd.pth"
    torch.save(EXTD(width=32).state_dict(), path)
    said = fail(monkeypatch, capsys, tmp_path, f"weights={path}")
    assert "does not fit EResFD" in said
    assert "base.conv1.0.weight" in said


class Trap:
    """Would create a file when unpickled by a careless loader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_pickle_that_tries_to_execute_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, sprung = tmp_path / "trap.pth", tmp_path / "sprung"
    torch.save({"state_dict": Trap(sprung)}, path)
    said = fail(monkeypatch, capsys, tmp_path, f"weights={path}")
    assert "trap.pth" in said
    assert not sprung.exists()
    path.write_bytes(pickle.dumps(Trap(sprung)))
    fail(monkeypatch, capsys, tmp_path, f"weights={path}")
    assert not sprung.exists()


def test_loss_that_is_not_a_number(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    drawn: Path,
) -> None:
    said = fail(
        monkeypatch,
        capsys,
        tmp_path,
        "data=widerface",
        f"data.root={drawn}",
        "data.num_workers=0",
        "data.batch_size=2",
        "data.input_size=64",
        "optimizer.lr=1e30",
    )
    assert "training loss became" in said
    assert "optimizer.lr" in said
