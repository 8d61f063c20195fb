"""Prediction heads: what the detectors with anchors share, their loss and decoding included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from secateur.data.preprocessing import RGB_MINUS_MEAN, Preprocessing
from secateur.detectors.anchors import AnchorCache
from secateur.detectors.balancing import balanced
from secateur.detectors.boxes import decode
from secateur.detectors.multibox_loss import multibox_sums


class AnchorDetector(nn.Module):
    """A network of locations and logits of anchors, under the protocol of ``detection.Detector``.

    Args:
        anchors: Gives the anchors of an input.
    """

    preprocessing: ClassVar[Preprocessing] = RGB_MINUS_MEAN
    output_names: ClassVar[tuple[str, ...]] = ("locations", "logits")

    def __init__(self, anchors: AnchorCache) -> None:
        super().__init__()
        self.anchor_cache = anchors

    def anchors(self, height: int, width: int) -> Tensor:
        """Anchors (N, 4) of an input of that size: cx, cy, w, h in fractions of it.

        The tensor is cached, lies where the network lies and must not be written to.
        """
        return self.anchor_cache(height, width, next(self.parameters()).device)

    def candidates(self, size: tuple[int, int]) -> Tensor:
        """The anchors (N, 4) of an input."""
        return self.anchors(*size)

    def losses(
        self,
        outputs: Sequence[Tensor],
        size: tuple[int, int],
        faces: Sequence[Tensor],
        *,
        negatives_per_positive: int = 3,
        exact: Tensor | None = None,
        picture_share: float = 0.0,
    ) -> dict[str, Tensor]:
        """Location and confidence loss, see ``multibox_loss``; landmarks of faces do not count.

        Args:
            outputs: Locations and logits.
            size: Height and width of the input.
            faces: Per image (G, 4 or more), corners first, in fractions of the input.
            negatives_per_positive: Negatives kept per positive anchor of the same image.
            exact: (B,) whether the boxes of an image teach locations; None: all do.
            picture_share: How much of both terms is a mean over pictures, in [0, 1].
        """
        sums = multibox_sums(
            outputs[0],
            outputs[1],
            self.anchors(*size).to(outputs[0].device),
            [rows[:, :4] for rows in faces],
            negatives_per_positive=negatives_per_positive,
        )
        location, positives = sums.location, sums.positives
        learned = positives
        if exact is not None:
            location, learned = location * exact.to(location), positives * exact.to(positives)
        return {
            "location": balanced(location, learned, picture_share),
            "confidence": balanced(sums.confidence, positives, picture_share),
        }

    def margins(self, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits (B, N) of a face against background."""
        return {"probability": outputs[1][..., 1] - outputs[1][..., 0]}

    def deviations(self, outputs: Sequence[Tensor], wanted: Sequence[Tensor]) -> dict[str, Tensor]:
        """Smooth L1 (B, N) between locations, whose variances are 0.1 and 0.2 already."""
        distance = functional.smooth_l1_loss(outputs[0], wanted[0], reduction="none")
        return {"location": distance.sum(-1)}

    def scores(self, outputs: Sequence[Tensor]) -> Tensor:
        """Face probabilities (B, N)."""
        return face_probabilities(outputs[1])

    def decode(self, outputs: Sequence[Tensor], chosen: Tensor, size: tuple[int, int]) -> Tensor:
        """Corners (B, K, 4) in fractions of the input of the chosen (B, K) anchors."""
        return decode_chosen(outputs[0], self.anchors(*size).to(outputs[0].device), chosen)


def face_probabilities(logits: Tensor) -> Tensor:
    """(..., 2) background and face to (...,): a softmax of two logits, at a fraction of its time.

    Examples:
        >>> face_probabilities(torch.tensor([0.0, 0.0]))
        tensor(0.5000)
    """
    return torch.sigmoid(logits[..., 1] - logits[..., 0])


def decode_chosen(locations: Tensor, anchors: Tensor, chosen: Tensor) -> Tensor:
    """Corners (B, K, 4) of the chosen (B, K) of all locations (B, N, 4) and anchors (N, 4)."""
    return decode(locations.gather(1, chosen[..., None].expand(-1, -1, 4)), anchors[chosen])


def apply_heads(
    features: Iterable[Tensor], loc: nn.ModuleList, conf: nn.ModuleList
) -> tuple[Tensor, Tensor]:
    """Run both heads of every level and line their cells up.

    The finest level has three background logits, of which the largest counts (max-out background
    of S3FD, section 3.3).

    Args:
        features: (B, C, H_k, W_k) per level, finest first.
        loc: Per level a convolution with 4 outputs.
        conf: Per level a convolution with 2 outputs, on the first level with 4.

    Returns:
        Locations (B, N, 4) and logits (B, N, 2): background, face.
    """
    locations, logits = [], []
    for level, (feature, location, confidence) in enumerate(zip(features, loc, conf, strict=True)):
        logit = confidence(feature)
        if level == 0:
            background = logit[:, :3].amax(dim=1, keepdim=True)
            logit = torch.cat([background, logit[:, 3:]], dim=1)
        locations.append(_cells_in_a_row(location(feature)))
        logits.append(_cells_in_a_row(logit))
    return torch.cat(locations, dim=1), torch.cat(logits, dim=1)


def _cells_in_a_row(values: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H * W, C), rows first."""
    return values.permute(0, 2, 3, 1).flatten(1, 2)
