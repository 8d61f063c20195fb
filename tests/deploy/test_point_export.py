"""YuNet with decoding and suppression inside its file: boxes, scores and landmarks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from secateur.deploy.description import parse, write_beside
from secateur.deploy.exported import ExportedFaces, open_exported
from secateur.deploy.onnx import export_onnx
from secateur.detectors.detection import detect
from secateur.detectors.yunet import YuNet
from secateur.workflows.deploy.describing import describe, exportable
from secateur.workflows.loading import LoadedNetwork


def loaded(landmarks: bool = True, score: str = "root") -> LoadedNetwork:
    """A small YuNet with weights that find something."""
    torch.manual_seed(0)
    network = YuNet(16, 16, landmarks=landmarks, score=score).eval()  # type: ignore[arg-type]
    settings = {"width": 16, "early_width": 16, "landmarks": landmarks, "score": score}
    architecture = {"name": "yunet", "arguments": settings}
    return LoadedNetwork("yunet", "detection", network, architecture, {"kind": "weights"})


def pictures() -> torch.Tensor:
    """Two pictures whose sides 32 does not divide."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 75, 110, 3), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("landmarks", [True, False])
@pytest.mark.parametrize("score", ["root", "product"])
@torch.no_grad()
def test_what_is_exported_decodes_as_the_network(landmarks: bool, score: str) -> None:
    source = loaded(landmarks, score)
    description = describe(source, "onnx", inside=True)
    assert parse(description.text(), "text") == description
    network = source.network
    assert isinstance(network, YuNet)
    images = network.preprocessing.pad(pictures().permute(0, 3, 1, 2).flip(1).float())
    found = exportable(source, description)(images)
    outputs = network(images)
    everything = torch.arange(outputs[0].shape[1]).expand(2, -1)
    rows = network.decode(outputs, everything, (96, 128))
    pixels = rows * torch.tensor([128.0, 96.0] * (rows.shape[2] // 2))
    torch.testing.assert_close(found[0], pixels[..., :4], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(found[1], network.scores(outputs), atol=1e-5, rtol=1e-4)
    assert len(found) == 2 + landmarks
    if landmarks:
        torch.testing.assert_close(found[2], pixels[..., 4:], atol=1e-3, rtol=1e-4)


def test_files_from_before_points_can_still_be_read() -> None:
    text = describe(loaded(), "onnx").text()
    before, _, after = text.partition('"points": {')
    older = before + after.partition("}, ")[2]
    assert parse(older, "older").points is None


@pytest.mark.slow
@torch.no_grad()
def test_the_file_gives_the_faces_of_the_network(tmp_path: Path) -> None:
    source = loaded()
    limits = {"score_threshold": 0.3, "iou_threshold": 0.3, "max_faces": 1000}
    description = describe(source, "onnx", inside=True, limits=limits)
    path = tmp_path / "faces.onnx"
    export_onnx(exportable(source, description), path, description)
    write_beside(path, description)
    opened = open_exported(path)
    assert isinstance(opened, ExportedFaces)
    network = source.network
    assert isinstance(network, YuNet)
    images = pictures().permute(0, 3, 1, 2).flip(1).float()
    expected = detect(network, images, max_candidates=10**6, **limits)
    for ours, theirs in zip(opened.detect(pictures()), expected, strict=True):
        assert ours.shape == theirs.shape
        assert len(ours) < 1000
        # scores that are equal but for rounding may come in another order
        apart = (ours[:, None] - theirs).abs().amax(dim=2)
        assert float(apart.amin(dim=1).max()) < 1e-3
        assert float(apart.amin(dim=0).max()) < 1e-3
