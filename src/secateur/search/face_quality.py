"""How good a face detector is on pictures held out of training: loss or average precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateur.data.face_dataset import SETTINGS, Picture
from secateur.detectors.multibox_loss import multibox_loss
from secateur.detectors.postprocess import detect_faces
from secateur.evaluation_mode import evaluation_mode
from secateur.metrics.wider_face_metric import WiderFaceAP
from secateur.search.drawn_batches import FaceBatch


def batch_loss(network: Any, images: Tensor, faces: Sequence[Tensor]) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """Location and confidence loss of one batch; the network has ``anchors``."""
    locations, logits = network(images)
    anchors = network.anchors(*images.shape[-2:])
    return multibox_loss(locations, logits, anchors, faces)


def training_loss(network: nn.Module, batch: FaceBatch) -> Tensor:
    """Location and confidence loss of one batch together."""
    location, confidence = batch_loss(network, *batch)
    return location + confidence


class HeldOutLoss:
    """Negative loss over drawn batches, in evaluation mode.

    Args:
        batches: Batches of held-out pictures.
    """

    def __init__(self, batches: Sequence[FaceBatch]) -> None:
        self.batches = batches

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> float:
        """Minus the mean location loss minus the mean confidence loss."""
        with evaluation_mode(network):
            losses = [batch_loss(network, images, faces) for images, faces in self.batches]
        location = torch.stack([loss[0] for loss in losses]).mean()
        confidence = torch.stack([loss[1] for loss in losses]).mean()
        return -float(location + confidence)


class HeldOutPrecision:
    """Average precision over all faces of held-out pictures.

    Args:
        pictures: Batches of whole pictures, those of a batch of one size.
    """

    def __init__(self, pictures: Sequence[Sequence[Picture]]) -> None:
        self.pictures = pictures

    @torch.no_grad()
    def __call__(self, network: Any) -> float:  # noqa: ANN401
        """Average precision in 0..1."""
        metric = WiderFaceAP(settings=SETTINGS)
        with evaluation_mode(network):
            for batch in self.pictures:
                images = torch.stack([picture.image for picture in batch])
                images = images.contiguous(memory_format=torch.channels_last)
                locations, logits = network(images)
                anchors = network.anchors(*images.shape[-2:])
                for picture, rows in zip(
                    batch, detect_faces(locations, logits, anchors), strict=True
                ):
                    metric.update(
                        picture.to_pixels(rows),
                        picture.faces,
                        picture.evaluated,
                        picture.participates,
                    )
        return float(metric.compute()["ap_unlisted"])
