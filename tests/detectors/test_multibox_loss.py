"""Multibox loss against a loop over anchors, and against golden losses and gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from secateur.detectors.anchors import AnchorCache
from secateur.detectors.boxes import encode
from secateur.detectors.matching import match_anchors
from secateur.detectors.multibox_loss import hard_negatives, multibox_loss

FACES = [
    torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.6, 0.5, 0.7, 0.65]]),
    torch.tensor([[0.3, 0.3, 0.35, 0.36]]),
]


@pytest.fixture
def anchors() -> Tensor:
    return AnchorCache()(64, 96, torch.device("cpu"))


def outputs(n_anchors: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    locations = torch.randn(batch, n_anchors, 4, generator=generator)
    logits = torch.randn(batch, n_anchors, 2, generator=generator)
    return locations.requires_grad_(), logits.requires_grad_()


def loss_anchor_by_anchor(
    locations: Tensor, logits: Tensor, anchors: Tensor, faces: list[Tensor]
) -> tuple[Tensor, Tensor]:
    location_loss, confidence_loss, n_positive = torch.zeros(()), torch.zeros(()), 0
    for image, boxes in enumerate(faces):
        labels, face_index = match_anchors(boxes, anchors)
        negatives = []
        for n in range(len(anchors)):
            target = labels[n].long()
            loss = functional.cross_entropy(logits[image, n], target)
            if labels[n]:
                n_positive += 1
                wanted = encode(boxes[face_index[n]][None], anchors[n][None])[0]
                location_loss = location_loss + functional.smooth_l1_loss(
                    locations[image, n], wanted, reduction="sum"
                )
                confidence_loss = confidence_loss + loss
            else:
                negatives.append(loss)
        negatives.sort(key=lambda value: -value.item())
        confidence_loss = confidence_loss + sum(negatives[: 3 * int(labels.sum())])
    return location_loss / n_positive, confidence_loss / n_positive


def test_loss_equals_that_made_anchor_by_anchor(anchors: Tensor) -> None:
    arguments = outputs(len(anchors))
    losses = multibox_loss(*arguments, anchors, FACES)
    expected = loss_anchor_by_anchor(*arguments, anchors, FACES)
    torch.testing.assert_close(losses, expected)
    gradients = torch.autograd.grad(sum(losses), arguments)
    torch.testing.assert_close(gradients, torch.autograd.grad(sum(expected), arguments))


def test_image_without_faces_adds_nothing(anchors: Tensor) -> None:
    locations, logits = outputs(len(anchors), batch=3)
    with_empty = multibox_loss(locations, logits, anchors, [*FACES, torch.zeros(0, 4)])
    without = multibox_loss(locations[:2], logits[:2], anchors, FACES)
    torch.testing.assert_close(with_empty, without)


def test_batch_without_faces_gives_zero_with_a_gradient(anchors: Tensor) -> None:
    arguments = outputs(len(anchors))
    losses = multibox_loss(*arguments, anchors, [torch.zeros(0, 4)] * 2)
    assert [loss.item() for loss in losses] == [0, 0]
    for gradient in torch.autograd.grad(sum(losses), arguments):
        assert not gradient.any()


def test_negatives_end_before_positives_are_taken() -> None:
    positive = torch.tensor([[True, True, False, False]])
    assert torch.equal(hard_negatives(torch.zeros(1, 4, 2), positive), ~positive)


@pytest.mark.parametrize("network", ["eresfd_bfpgm", "extd"])
@pytest.mark.parametrize("case", ["mixed_crowd", "one_tiny", "tiny_large_nested"])
def test_golden_loss(reference: Path, network: str, case: str) -> None:
    with np.load(reference / f"golden/loss/{network}_multibox_320.npz") as file:
        golden = {name.removeprefix(f"{case}/"): file[name] for name in file.files}
    locations = torch.from_numpy(golden["loc"]).requires_grad_()
    logits = torch.from_numpy(golden["conf"]).requires_grad_()
    anchors = torch.from_numpy(golden["priors"])
    faces = [torch.from_numpy(golden[f"gt{n}"][:, :4]) for n in range(len(locations))]
    positive = torch.from_numpy(golden["conf_t"] > 0)
    negative = hard_negatives(logits.detach(), positive)
    assert np.array_equal(negative.numpy(), golden["neg_mask"])

    location_loss, confidence_loss = multibox_loss(locations, logits, anchors, faces)
    assert location_loss.item() == pytest.approx(float(golden["loss_l"]), abs=1e-4)
    assert confidence_loss.item() == pytest.approx(float(golden["loss_c"]), abs=1e-4)
    gradients = torch.autograd.grad(location_loss + confidence_loss, (locations, logits))
    for gradient, mask, name in zip(
        gradients, (positive, positive | negative), ("loc_pos", "conf_sel"), strict=True
    ):
        np.testing.assert_allclose(gradient[mask], golden[f"grad_{name}"], rtol=1e-3, atol=1e-7)
        assert not gradient[~mask].any()
