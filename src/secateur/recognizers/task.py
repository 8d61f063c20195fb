"""RecognizerTask: the LightningModule around any recogniser of the project."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from secateur.data.pairs import Pairs
from secateur.errors import InputError
from secateur.learning_rate import RatesOnPlateau
from secateur.metrics.embeddings import embed
from secateur.metrics.verification_metric import PairVerification
from secateur.recognizers.classification_heads import HeadKind, MarginHead, SoftmaxHead, make_head
from secateur.training_steps import count_training_steps, log_training_loss

log = logging.getLogger(__name__)


class PeopleData(Protocol):
    """What the task asks of a datamodule beside its loaders."""

    n_identities: int
    """People to train on."""

    pairs: Pairs
    """Pairs of validation pictures."""

    held_out: Sequence[int] | NDArray[np.int64]
    """Training pictures kept to measure identification."""


class RecognizerTask(pl.LightningModule):
    """Train a recogniser to identify people and validate it by verifying pairs of others.

    The identification head is trained with the network and is no part of it: a slim or exported
    network gives embeddings. Without a trained head only verification is measured.

    The datamodule keeps to ``PeopleData``.

    Args:
        network: Gives embeddings (B, D) and tells D as ``embedding_size``.
        optimizer: Takes the parameters, gives the optimiser.
        scheduler: Takes optimiser, total steps and steps per epoch; None keeps the rate constant.
        head: ``softmax``, or with a margin ``arcface`` or ``cosface``.
        scale: What a head with a margin multiplies cosines by.
        margin: Margin of such a head; None takes the published one.
        flip: Average the embeddings of a picture and its mirror image in validation.
        head_weights: Tensors of a head trained before; one for other people is not used.
    """

    head: SoftmaxHead | MarginHead | None

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        scheduler: Callable[[Optimizer, int, int], LRScheduler | RatesOnPlateau] | None = None,
        head: HeadKind = "softmax",
        scale: float = 64.0,
        margin: float | None = None,
        flip: bool = False,
        head_weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.head_kind = head
        self.scale = scale
        self.margin = margin
        self.flip = flip
        self.head_weights = head_weights
        self.head = None
        self.verification: PairVerification | None = None
        self.identified = MeanMetric()
        self.identification_loss = MeanMetric()

    def setup(self, stage: str) -> None:
        """Take the pairs from the datamodule and, to train, build a head for its people."""
        data = self._data
        if self.verification is None:
            pairs = data.pairs
            self.verification = PairVerification(pairs.first, pairs.second, pairs.same, pairs.fold)
        if self.head is None and (stage == "fit" or self.head_weights):
            self.head = self._make_head(data.n_identities)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Identification loss of one batch.

        Raises:
            InputError: If the loss is not a finite number.
        """
        images, identities = batch
        assert self.head is not None
        logits = self.head(self.network(images).float(), identities).float()
        loss = cross_entropy(logits, identities)
        hits = (logits.detach().argmax(1) == identities).float().mean()
        log_training_loss(self, loss, {"identified": hits}, batch_idx, len(images))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Make fresh sums: those of a validation before training are tensors of inference mode."""
        for metric in (self.verification, self.identified, self.identification_loss):
            assert metric is not None
            metric.reset()

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> None:
        """Embed pictures of pairs, and identify the held-out ones of trained people."""
        images, indices, identities = batch
        embeddings = embed(self.network, images, self.flip).float()
        in_pairs, known = indices >= 0, identities >= 0
        assert self.verification is not None
        self.verification.update(embeddings[in_pairs], indices[in_pairs])
        if self.head is not None and bool(known.any()):
            logits, truth = self.head(embeddings[known]).float(), identities[known]
            self.identified.update((logits.argmax(1) == truth).float())
            self.identification_loss.update(cross_entropy(logits, truth, reduction="none"))

    def on_validation_epoch_end(self) -> None:
        """Log what the pairs support, and identification where anybody was held out."""
        assert self.verification is not None
        values = {"eer": torch.tensor(float("nan"))} | self.verification.compute()
        if self.head is not None and len(self._data.held_out):
            values |= self._identification()
        self.log_dict({f"val/{name}": value for name, value in values.items()}, prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser and the scheduler, stepped by batch or by what validation says."""
        if self.make_optimizer is None:
            return None
        optimizer = self.make_optimizer(self.parameters())
        if self.make_scheduler is None:
            return optimizer
        total, per_epoch = count_training_steps(self.trainer)
        scheduler: Any = self.make_scheduler(optimizer, total, per_epoch)
        steps: Any = {"scheduler": scheduler, "interval": "step"}
        if isinstance(scheduler, RatesOnPlateau):
            steps = {
                "scheduler": scheduler,
                "interval": "epoch",
                "monitor": scheduler.monitor,
                "reduce_on_plateau": True,
            }
        return {"optimizer": optimizer, "lr_scheduler": steps}

    def lr_scheduler_step(
        self,
        scheduler: Any,  # noqa: ANN401 - one of torch's or ours, as Lightning hands it on
        metric: float | None,
    ) -> None:
        """Step a scheduler of torch's or `RatesOnPlateau`."""
        if metric is None:
            scheduler.step()
        else:
            scheduler.step(metric)

    @property
    def _data(self) -> PeopleData:
        """The datamodule."""
        return cast("PeopleData", self.trainer.datamodule)  # type: ignore[attr-defined]

    def _make_head(self, n_identities: int) -> SoftmaxHead | MarginHead:
        size = getattr(self.network, "embedding_size", None)
        if not isinstance(size, int) or size < 1:
            raise InputError(
                f"{type(self.network).__name__} does not say how many numbers its embeddings have: "
                "set self.embedding_size in its constructor"
            )
        head = make_head(self.head_kind, size, n_identities, self.scale, self.margin)
        if self.head_weights:
            expected = {name: tensor.shape for name, tensor in head.state_dict().items()}
            if expected == {name: tensor.shape for name, tensor in self.head_weights.items()}:
                head.load_state_dict(dict(self.head_weights))
            else:
                log.info("the identification head starts anew: the weights are for other people")
        return head

    def _identification(self) -> dict[str, Tensor]:
        values = {
            "identified": self.identified.compute(),
            "identification_loss": self.identification_loss.compute(),
        }
        return {name: value for name, value in values.items() if not value.isnan()}
