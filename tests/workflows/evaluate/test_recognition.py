"""evaluate.py on VGGFace2-Pose: templates of 5 pictures and of 1, within and across poses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from secateur.recognizers.squeezenet import SqueezeNet
from secateur.workflows.cli import run_command
from secateur.workflows.evaluate.faces import evaluate

ROOT = Path(__file__).parents[3]


def test_pose_templates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
    torch.manual_seed(0)
    torch.save(SqueezeNet().state_dict(), tmp_path / "weights.pth")
    settings = (
        *("model=squeezenet", f"weights={tmp_path / 'weights.pth'}", "data=vggface2_pose"),
        *(f"data.root={tmp_path}", "data.templates=list.txt", "data.boxes=null"),
        *("data.input_size=33", "data.num_workers=0", "data.eval_batch_size=32"),
        *("trainer=cpu", "trainer.enable_progress_bar=false", f"output_dir={tmp_path / 'out'}"),
    )
    monkeypatch.setattr(sys, "argv", [str(ROOT / "evaluate.py"), *settings])
    run_command("evaluate", evaluate)
    record = json.loads((tmp_path / "out" / "verification.json").read_text())
    assert len(record["templates"]) == 2 * 6
    assert {one["size"] for one in record["templates"]} == {1, 5}
    assert ["frontal", "profile"] in [one["poses"] for one in record["templates"]]
    # one noise per picture: a mean over five separates people at least as well in all poses
    assert all(one["eer"] <= 0.01 for one in record["templates"] if one["size"] == 5)
    # 3 people: 45 pairs in each pose and 100 across per person, 6 of others for each two poses
    assert record["pairs"] == 3 * (3 * 45 + 3 * 100) + 6 * 6
    plots = {path.name for path in (tmp_path / "out" / "plots").iterdir()}
    assert {"det-templates-5.png", "roc-templates-1.png"} <= plots
