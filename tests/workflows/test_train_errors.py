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
    assert "rate=1.2 must be a number of at least 0 and below 1" in said


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


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("callbacks=null", "error: callbacks=null is no choice; choose callbacks from: default, "),
        ("=3", "error: =3 has no key before its =: give KEY=VALUE"),
        ("~logger", "error: ~logger takes away what the command needs: leave it out, or set "),
        ("recover.views={foo: 1}", "error: there is no key recover.views.foo; "),
        ("slim_from=x", "error: slim_from=x must be last or best"),
        ("model.name=../x", "error: model.name=../x must be a name without a slash"),
        ("weights=", "error: weights= must be a text that is not empty, or null"),
        ("output_dir=[a]", "error: output_dir=['a'] must be a text that is not empty, or null"),
        ("rates=3", "error: rates of the command line must be a mapping from group to rate"),
        ("pruning.exclude=3", "error: pruning.exclude=3 must be heads, none, or a list of "),
        ("model.network.topology=x", "error: model.network cannot be made as it is set (topology "),
        ("model.network.anchor_ratio=0", "error: model.network cannot be made as it is set (anc"),
        ("model.network._target_=no.No", "error: model.network cannot be made as it is set (Err"),
        ("model.network._target_=pathlib.Path", "error: model.network"),
        ("+optimizer.foo=1", "error: optimizer cannot be made as it is set (Adam.__init__() got "),
        ("+scheduler.foo=1", "error: scheduler cannot be made as it is set (warmup_cosine() got "),
        ("+callbacks.x=3", "error: callbacks.x=3 describes no callback: it needs the _target_ of "),
        ("+callbacks.x={a: 1}", "error: callbacks.x={'a': 1} describes no callback: it needs the "),
        ("+callbacks.x._target_=no.No", "error: callbacks.x cannot be made as it is set (Error "),
        ("+callbacks.x={_target_: torch.nn.Linear, in_features: 1, out_features: 1}",
         "error: callbacks.x._target_=torch.nn.Linear is no pytorch_lightning.Callback: "),
        ("trainer.accelerator=foo", "error: trainer cannot be made as it is set ("),
        ("trainer.limit_train_batches=2.5", "error: trainer cannot be made as it is set ("),
        ("trainer.devices=9999", "error: trainer.devices=9999 would start 9999 processes on "),
        ("+trainer.max_steps=x", "error: trainer cannot be made as it is set ("),
        ("+trainer.max_epochs=3", "error: trainer.max_epochs is set by this program (phases"),
        ("batch_size=3", "error: there is no key batch_size; did you mean data.batch_size"),
        ("RATE=0.3", "error: there is no key RATE; did you mean rate"),
        ("lr=0.1", "error: there is no key lr; did you mean optimizer.lr"),
        ("epochs=3", "error: epochs is called otherwise here: phases.dense_epochs, "),
        ("+trainer.callbacks=[]", "error: trainer.callbacks is set by this program (phases.* give"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    drawn: Path,
    override: str,
    said: str,
) -> None:
    data = ("data=widerface", f"data.root={drawn}", "data.input_size=64", "data.num_workers=0")
    if not override.startswith("pruning"):
        data += ("pruning=none",)  # there is no network to trace then
    assert fail(monkeypatch, capsys, tmp_path, *data, override).startswith(said)
