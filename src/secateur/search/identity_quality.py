"""How good a recogniser is on what was held out: identification loss or verification."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from secateur.data.pairs import Pairs
from secateur.evaluation_mode import evaluation_mode
from secateur.metrics.verification_metric import PairVerification

IdentityBatch = tuple[Tensor, Tensor]
"""Images (B, 3, S, S) and identities (B,)."""


class IdentificationLoss:
    """Loss of a recogniser under the head that was trained with it, which stays as it is.

    Args:
        head: Takes embeddings (B, D) and identities (B,), gives logits.
    """

    def __init__(self, head: nn.Module) -> None:
        self.head = head.requires_grad_(False).eval()

    def __call__(self, network: nn.Module, batch: IdentityBatch) -> Tensor:
        """Mean cross entropy of one batch."""
        images, identities = batch
        return cross_entropy(self.head(network(images), identities), identities)


class HeldOutIdentification:
    """Negative identification loss over held-out pictures of trained people.

    Args:
        loss: Of one batch.
        batches: Batches of held-out pictures.
    """

    def __init__(self, loss: IdentificationLoss, batches: Sequence[IdentityBatch]) -> None:
        self.loss = loss
        self.batches = batches

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> float:
        """Minus the mean loss."""
        with evaluation_mode(network):
            losses = [self.loss(network, batch) for batch in self.batches]
        return -float(torch.stack(losses).mean())


class HeldOutVerification:
    """Negative equal error rate over pairs of held-out people.

    Args:
        batches: Images (B, 3, S, S) and their numbers (B,) in the pairs.
        pairs: The pairs.
    """

    def __init__(self, batches: Sequence[IdentityBatch], pairs: Pairs) -> None:
        self.batches = batches
        self.pairs = pairs

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> float:
        """Minus the equal error rate, -1..0; not a number for a diverged network."""
        metric = PairVerification(self.pairs.first, self.pairs.second, self.pairs.same)
        with evaluation_mode(network):
            for images, numbers in self.batches:
                embeddings = network(images)
                if not bool(embeddings.isfinite().all()):
                    return float("nan")
                metric.update(embeddings, numbers)
        return -float(metric.compute()["eer"])
