"""Loss of points: golden losses, assignments and gradients, and batches without faces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from secateur.detectors.point_loss import point_loss
from secateur.detectors.points import decode_boxes, make_points
from secateur.detectors.simota import assign_points
from tests.ddp import run_processes

CASES = ("crowd", "one_tiny", "no_face", "face_and_none", "large_nested")
NAMES = {"class": "loss_cls", "objectness": "loss_obj", "box": "loss_bbox", "landmark": "loss_kps"}


@pytest.fixture(scope="module")
def arrays(reference: Path) -> Mapping[str, Tensor]:
    with np.load(reference / "golden/yunet/loss/yunet_simota_320.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(scope="module")
def golden(reference: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((reference / "golden/yunet/loss/yunet_meta.json").read_text())
    return meta["cases"]


@pytest.mark.parametrize("case", CASES)
def test_assignments_are_exact(arrays: Mapping[str, Tensor], case: str) -> None:
    points = make_points(320, 320)
    for image in range(len(arrays[f"{case}/cls"])):
        face, overlap = assign_points(
            arrays[f"{case}/cls"][image],
            arrays[f"{case}/obj"][image],
            decode_boxes(arrays[f"{case}/bbox"][image], points),
            points,
            arrays[f"{case}/gt{image}"],
        )
        assert torch.equal(face + 1, arrays[f"{case}/assigned_gt"][image].long())
        expected = arrays[f"{case}/assigned_iou"][image]
        torch.testing.assert_close(overlap, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("variant", ["kps", "nokps", "halfkps"])
def test_losses_and_gradients(
    arrays: Mapping[str, Tensor], golden: dict[str, Any], case: str, variant: str
) -> None:
    outputs = {
        key: arrays[f"{case}/{key}"].clone().requires_grad_()
        for key in ("cls", "bbox", "obj", "kps")
    }
    faces = []
    for image in range(len(arrays[f"{case}/cls"])):
        landmarks = arrays[f"{case}/gt{image}_kps"].clone()
        bare = {"kps": slice(0, 0), "nokps": slice(None), "halfkps": slice(1, None, 2)}[variant]
        landmarks[bare, :, :2] = -1
        landmarks[bare, :, 2] = 0
        faces.append(torch.cat([arrays[f"{case}/gt{image}"], landmarks.flatten(1)], dim=1))
    losses = point_loss(
        outputs["cls"][..., None],
        outputs["bbox"],
        outputs["obj"][..., None],
        outputs["kps"],
        make_points(320, 320),
        faces,
    )
    expected = golden[f"{case}/{variant}"]
    for ours, theirs in NAMES.items():
        assert losses[ours].item() == pytest.approx(expected[theirs], rel=1e-5, abs=1e-7), ours
    total = sum(losses.values())
    assert total.item() == pytest.approx(expected["total"], rel=1e-5)
    total.backward()
    for key, output in outputs.items():
        stored = f"{case}/{variant}/grad_kps" if key == "kps" else f"{case}/grad_{key}"
        gradient = torch.zeros_like(output) if output.grad is None else output.grad
        torch.testing.assert_close(gradient, arrays[stored], atol=1e-5, rtol=1e-4)


def test_faces_without_landmark_columns_cost_no_landmark_loss() -> None:
    torch.manual_seed(0)
    points = make_points(64, 64)
    outputs = [torch.randn(1, len(points), n) for n in (1, 4, 1, 10)]
    faces = [torch.tensor([[10.0, 10, 40, 40]])]
    losses = point_loss(*outputs, points, faces)
    assert losses["landmark"].item() == 0
    bare = point_loss(*outputs[:3], None, points, faces)
    assert {name: losses[name] for name in bare} == bare


def test_half_precision_outputs_are_the_callers_business_and_no_candidate_is_no_positive() -> None:
    points = make_points(32, 32)
    far = [torch.tensor([[500.0, 500, 540, 540]])]
    losses = point_loss(
        *(torch.zeros(1, len(points), n) for n in (1, 4, 1)), None, points, far, box_loss="diou"
    )
    assert losses["class"] == losses["box"] == 0
    assert losses["objectness"].item() == pytest.approx(len(points) * np.log(2), rel=1e-5)


def _of_this_process(rank: int, n_processes: int, outputs: list[Tensor]) -> dict[str, Any]:
    """Gradients of the loss of the pictures of one process: the first has five times the faces."""
    own = [output[[rank]].clone().requires_grad_() for output in outputs]
    losses = point_loss(*own[:3], None, make_points(64, 64), [_faces()[rank]])
    torch.stack(list(losses.values())).sum().backward()
    return {str(index): output.grad for index, output in enumerate(own[:3])}


def _faces() -> list[Tensor]:
    crowd = [[8.0 * x, 10, 8 * x + 20, 32] for x in range(5)]
    return [torch.tensor(crowd), torch.tensor([[10.0, 10, 50, 60]])]


def test_two_processes_average_to_the_gradient_of_one_with_all_pictures() -> None:
    torch.manual_seed(0)
    points = make_points(64, 64)
    outputs = [torch.randn(2, len(points), n) for n in (1, 4, 1)]
    together = [output.clone().requires_grad_() for output in outputs]
    losses = point_loss(*together, None, points, _faces())
    torch.stack(list(losses.values())).sum().backward()
    gradients = run_processes(_of_this_process, outputs)
    for index, output in enumerate(together):
        for rank in range(2):  # as DDP averages: every process adds half of its gradient
            expected = output.grad[[rank]]
            torch.testing.assert_close(
                gradients[rank][str(index)] / 2, expected, atol=1e-6, rtol=1e-5
            )
