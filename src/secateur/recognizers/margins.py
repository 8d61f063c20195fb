"""Margins that push identities apart: logits of a cosine classifier with one made harder."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def arcface_logits(cosine: Tensor, identity: Tensor, margin: float) -> Tensor:
    """Add an angle to that of the true identity (Deng et al., CVPR 2019, equation 3).

    Beyond pi - margin the cosine would rise again; there its tangent-free continuation
    cos(angle) - margin * sin(margin) keeps it falling, as the authors' code does.

    Args:
        cosine: (B, I) between embeddings and class centres, -1..1.
        identity: (B,) true classes.
        margin: Angle in radians.

    Returns:
        (B, I), not yet scaled.

    Example:
        >>> arcface_logits(torch.tensor([[1.0, 0.2]]), torch.tensor([0]), 0.5).round(decimals=3)
        tensor([[0.8780, 0.2000]])
    """
    true = cosine.gather(1, identity[:, None])
    # The gradient of the square root is infinite at 0, where a perfect embedding would be.
    sine = (1 - true.square()).clamp_min(1e-9).sqrt()
    shifted = true * math.cos(margin) - sine * math.sin(margin)
    beyond = true < -math.cos(margin)
    harder = torch.where(beyond, true - margin * math.sin(margin), shifted)
    return cosine.scatter(1, identity[:, None], harder)


def cosface_logits(cosine: Tensor, identity: Tensor, margin: float) -> Tensor:
    """Subtract the margin from the cosine of the true identity (Wang et al., CVPR 2018, eq. 4).

    Args:
        cosine: (B, I) between embeddings and class centres, -1..1.
        identity: (B,) true classes.
        margin: What is subtracted.

    Returns:
        (B, I), not yet scaled.

    Example:
        >>> cosface_logits(torch.tensor([[1.0, 0.2]]), torch.tensor([0]), 0.35).round(decimals=3)
        tensor([[0.6500, 0.2000]])
    """
    true = cosine.gather(1, identity[:, None])
    return cosine.scatter(1, identity[:, None], true - margin)
