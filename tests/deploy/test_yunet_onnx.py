"""YuNet: boxes as its authors decode them, whatever the size of the picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from secateur.deploy.yunet_onnx import OnnxYuNet, count_parameters_of
from secateur.detectors.detection import run
from secateur.errors import InputError

ort = pytest.importorskip("onnxruntime")


def test_boxes_and_scores_like_a_loop_over_cells(reference: Path) -> None:
    path = reference / "weights" / "peers" / "yunet_n_dynamic.onnx"
    yunet = OnnxYuNet(path)
    rgb = np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)
    outputs, size = run(yunet, yunet.preprocessing(rgb)[None])
    assert size == (64, 96)
    scores = yunet.scores(outputs)[0]
    rows = yunet.decode(outputs, torch.arange(len(scores))[None], size)[0, :, :4]

    padded = np.zeros((64, 96, 3), np.float32)
    padded[:45, :70] = rgb[:, :, ::-1]
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    raw = session.run(None, {"input": padded.transpose(2, 0, 1)[None]})
    stored = dict(zip(names, raw, strict=True))
    expected = []
    for stride in (8, 16, 32):
        cells = [(y, x) for y in range(64 // stride) for x in range(96 // stride)]
        for i, (y, x) in enumerate(cells):
            dx, dy, dw, dh = stored[f"bbox_{stride}"][0, i]
            cx, cy = (x + dx) * stride, (y + dy) * stride
            w, h = math.exp(dw) * stride, math.exp(dh) * stride
            cls, obj = stored[f"cls_{stride}"][0, i, 0], stored[f"obj_{stride}"][0, i, 0]
            expected.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, math.sqrt(cls * obj)])
    pixels = rows.double() * torch.tensor([96, 64, 96, 64], dtype=torch.float64)
    found = torch.cat([pixels, scores[:, None]], dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)
    np.testing.assert_allclose(found[:, 4], np.array(expected)[:, 4], atol=1e-6)


def test_parameters(reference: Path) -> None:
    pytest.importorskip("onnx")
    assert count_parameters_of(reference / "weights" / "peers" / "yunet_n_dynamic.onnx") == 73848


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no file"):
        OnnxYuNet(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(InputError, match="no ONNX file"):
        OnnxYuNet(tmp_path / "text.onnx")
