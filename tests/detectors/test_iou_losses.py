"""EIoU and DIoU: golden pairs of boxes, and what the losses promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from secateur.detectors.iou_losses import diou_loss, eiou_loss


@pytest.mark.parametrize(("key", "loss"), [("eiou_pairs", eiou_loss), ("diou_pairs", diou_loss)])
def test_golden_pairs(reference: Path, key: str, loss: object) -> None:
    meta = json.loads((reference / "golden/yunet/loss/yunet_meta.json").read_text())
    rows = meta[key]["rows"]
    boxes = torch.tensor([row["pred"] for row in rows], dtype=torch.float32, requires_grad=True)
    targets = torch.tensor([row["target"] for row in rows], dtype=torch.float32)
    losses = {"eiou_pairs": eiou_loss, "diou_pairs": diou_loss}[key](boxes, targets)
    expected = torch.tensor([row["loss"] for row in rows])
    torch.testing.assert_close(losses.detach(), expected, atol=1e-5, rtol=1e-5)
    losses.sum().backward()
    gradients = torch.tensor([row["grad"] for row in rows])
    torch.testing.assert_close(boxes.grad, gradients, atol=1e-5, rtol=1e-4)


def test_disjoint_boxes_are_drawn_together() -> None:
    box = torch.tensor([0.0, 0, 10, 10], requires_grad=True)
    eiou_loss(box, torch.tensor([50.0, 0, 60, 10])).backward()
    assert box.grad is not None
    assert box.grad[2] < 0  # a step against the gradient moves the right side to the right
