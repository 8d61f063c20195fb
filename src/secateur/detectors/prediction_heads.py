"""Detection heads: what every detector does with its feature maps at the end."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


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
