"""evaluate.py on VGGFace2-Pose: templates of 5 pictures and of 1, within and across poses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from secateur.deploy.description import Description, FaceCut, PixelFormat
from secateur.deploy.exported import ExportedNetwork
from secateur.recognizers.squeezenet import SqueezeNet
from secateur.workflows.cli import run_command
from secateur.workflows.evaluate import recognition
from secateur.workflows.evaluate.faces import evaluate
from secateur.workflows.loading import LoadedNetwork

ROOT = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Thirty pictures each of three people, and a list of them."""
    generator = np.random.default_rng(0)
    lines = []
    for person in range(3):
        (tmp_path / "test" / f"n{person}").mkdir(parents=True)
        face = generator.integers(0, 256, (40, 40, 3))
        for number in range(30):
            name = f"n{person}/{number:04d}.png"
            noise = generator.integers(-20, 20, face.shape)
            picture = np.clip(face + noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "test" / name), picture)
            lines.append(name)
    (tmp_path / "list.txt").write_text("\n".join(lines))
    return tmp_path


def evaluated(monkeypatch: pytest.MonkeyPatch, root: Path, *more: str) -> dict[str, Any]:
    """The record of an evaluation of ``root/weights``."""
    settings = (
        *("data=vggface2_pose", "data.num_workers=0", "data.eval_batch_size=32", *more),
        *(f"data.root={root}", "data.templates=list.txt", "data.boxes=null"),
        *("trainer=cpu", "trainer.enable_progress_bar=false", f"output_dir={root / 'out'}"),
    )
    monkeypatch.setattr(sys, "argv", [str(ROOT / "evaluate.py"), *settings])
    run_command("evaluate", evaluate)
    values: dict[str, Any] = json.loads((root / "out" / "verification.json").read_text())
    return values


def test_an_exported_file_is_shown_faces_of_its_own_size(
    monkeypatch: pytest.MonkeyPatch, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = set()

    def run(images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        shapes.add(images.shape[1:])
        return [images[:, :, ::4, ::4].reshape(len(images), -1)]

    cut = FaceCut(shorter_side=40, side=32)
    description = Description(
        "recognition", "faces", "onnx", ("embeddings",), PixelFormat(size=(32, 32)), cut=cut
    )
    network = ExportedNetwork(root / "model.onnx", description, run)
    loaded = LoadedNetwork("faces", "recognition", network, {}, {"model": "squeezenet"}, cut=cut)
    monkeypatch.setattr(recognition, "load_network", lambda path: loaded)
    (root / "model.onnx").touch()
    record = evaluated(monkeypatch, root, f"weights={root / 'model.onnx'}")
    assert shapes == {(3, 32, 32)}
    assert record["eer"] <= 0.01
    printed = capsys.readouterr()
    assert "equal error rate" in printed.out
    assert "TAR at FAR 1e-6" in printed.out
    assert "litlogger" not in printed.err


def test_pose_templates(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    torch.manual_seed(0)
    torch.save(SqueezeNet().state_dict(), root / "weights.pth")
    weights = f"weights={root / 'weights.pth'}"
    record = evaluated(monkeypatch, root, "model=squeezenet", weights, "data.input_size=33")
    assert len(record["templates"]) == 2 * 6
    assert {one["size"] for one in record["templates"]} == {1, 5}
    assert ["frontal", "profile"] in [one["poses"] for one in record["templates"]]
    # one noise per picture: a mean over five separates people at least as well in all poses
    assert all(one["eer"] <= 0.01 for one in record["templates"] if one["size"] == 5)
    # 3 people: 45 pairs in each pose and 100 across per person, 6 of others for each two poses
    assert record["pairs"] == 3 * (3 * 45 + 3 * 100) + 6 * 6
    plots = {path.name for path in (root / "out" / "plots").iterdir()}
    assert {"det-templates-5.png", "roc-templates-1.png"} <= plots
