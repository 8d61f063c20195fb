"""Identification heads: trained with the recogniser, then left behind."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from secateur.errors import InputError

HeadKind = Literal["softmax", "arcface", "cosface"]

_MARGINS = {"arcface": 0.5, "cosface": 0.35}  # as published


class SoftmaxHead(nn.Linear):
    """A linear classifier over embeddings, as the pruning papers train with.

    Args:
        embedding_size: Dimension of an embedding.
        n_identities: Number of classes.
    """

    def __init__(self, embedding_size: int, n_identities: int) -> None:
        super().__init__(embedding_size, n_identities)
        # Small weights: every identity starts about equally likely whatever the embedding's scale.
        nn.init.normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)

    def forward(self, embeddings: Tensor, identity: Tensor | None = None) -> Tensor:
        """Logits (B, I) of embeddings (B, D); the true identity changes nothing."""
        # Training in half precision throughout gives the head weights of it, too.
        return super().forward(embeddings.to(self.weight.dtype))


class MarginHead(nn.Module):
    """A cosine classifier with a margin on the true identity (ArcFace or CosFace).

    Args:
        embedding_size: Dimension of an embedding.
        n_identities: Number of classes.
        kind: Which margin.
        scale: What cosines are multiplied by.
        margin: Radians for arcface, cosine for cosface; None takes the published 0.5 and 0.35.
    """

    def __init__(
        self,
        embedding_size: int,
        n_identities: int,
        kind: Literal["arcface", "cosface"] = "arcface",
        scale: float = 64.0,
        margin: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_identities, embedding_size))
        nn.init.normal_(self.weight, std=0.01)
        self.add_margin = arcface_logits if kind == "arcface" else cosface_logits
        self.scale = scale
        self.margin = _MARGINS[kind] if margin is None else margin

    def forward(self, embeddings: Tensor, identity: Tensor | None = None) -> Tensor:
        """Scaled logits.

        Args:
            embeddings: (B, D) of any length.
            identity: (B,) true classes, whose margin is applied; None applies none, to predict.

        Returns:
            (B, I).
        """
        embeddings = embeddings.to(self.weight.dtype)
        cosine = linear(normalize(embeddings), normalize(self.weight)).clamp(-1, 1)
        if identity is not None:
            cosine = self.add_margin(cosine, identity, self.margin)
        return cosine * self.scale


def make_head(
    kind: HeadKind,
    embedding_size: int,
    n_identities: int,
    scale: float = 64.0,
    margin: float | None = None,
) -> SoftmaxHead | MarginHead:
    """Build a head by its name.

    Args:
        kind: ``softmax``, ``arcface`` or ``cosface``.
        embedding_size: Dimension of an embedding.
        n_identities: Number of classes.
        scale: Scale of a head with a margin.
        margin: Margin of a head with one; None takes the published one.

    Raises:
        InputError: If there is no such head.
    """
    if kind == "softmax":
        return SoftmaxHead(embedding_size, n_identities)
    if kind not in _MARGINS:
        raise InputError(
            f"model.lightning.head={kind} does not exist: choose softmax, arcface or cosface"
        )
    return MarginHead(embedding_size, n_identities, kind, scale, margin)


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
