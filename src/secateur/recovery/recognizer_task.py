"""DistilledRecognizerTask: train a pruned recognizer to agree with its teacher, and with labels."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from secateur.evaluation_mode import freeze_batchnorms
from secateur.recognizers.task import RecognizerTask
from secateur.recovery.distillation import embedding_distillation, logit_distillation
from secateur.training_steps import log_training_loss


class DistilledRecognizerTask(RecognizerTask):
    """Recover a pruned recognizer from the dense network that it was.

    Embeddings are pulled to the teacher's direction; where there is an identification head, the
    teacher's embeddings go through the same head, and the probabilities of identities are compared.

    Args:
        network: The pruned recognizer.
        teacher: The dense one, with embeddings of the same size; None trains with labels alone.
        distillation: Weight of the distance between embeddings.
        logits: Weight of the divergence of identities' probabilities.
        temperature: Of these probabilities.
        labels: Weight of the identification loss.
        freeze_batchnorm: Whether batch norms stay in evaluation mode.
        **options: Arguments of ``RecognizerTask``.
    """

    def __init__(
        self,
        network: nn.Module,
        teacher: nn.Module | None = None,
        distillation: float = 1.0,
        logits: float = 0.1,
        temperature: float = 4.0,
        labels: float = 0.1,
        freeze_batchnorm: bool = True,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(network, **options)
        # In a list, so that it is no submodule: neither trained nor saved in checkpoints.
        self._teacher = [] if teacher is None else [teacher.eval().requires_grad_(False)]
        self._teacher_head: list[nn.Module] = []
        self.distillation = distillation
        self.logits = logits
        self.temperature = temperature
        self.labels = labels
        self.freeze_batchnorm = freeze_batchnorm

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Total loss of one batch.

        Raises:
            InputError: If the loss is not a finite number.
        """
        if self.freeze_batchnorm:  # Lightning trains a task in the mode that it finds
            freeze_batchnorms(self.network)
        images, identities = batch
        assert self.head is not None
        if not self._teacher_head:
            # The head as it was given; without one that was trained it says nothing yet.
            self._teacher_head = [copy.deepcopy(self.head).requires_grad_(False)]
        embeddings = self.network(images).float()
        logits = self.head(embeddings, identities)
        parts = {"identification": self.labels * cross_entropy(logits, identities)}
        if self._teacher:
            with torch.no_grad():
                wanted = self._teacher[0].to(images.device)(images).float()
            parts["distilled_embedding"] = self.distillation * embedding_distillation(
                embeddings, wanted
            )
            if self.logits > 0 and self.head_weights:
                with torch.no_grad():
                    taught = self._teacher_head[0].to(images.device)(wanted, identities)
                parts["distilled_logits"] = self.logits * logit_distillation(
                    logits, taught, self.temperature
                )
        total = torch.stack(list(parts.values())).sum()
        hits = (logits.detach().argmax(1) == identities).float().mean()
        log_training_loss(self, total, {"identified": hits, **parts}, batch_idx, len(images))
        return total
