"""DetectorTask: the LightningModule around any detector of the project."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from secateur.data.face_dataset import Picture
from secateur.detectors.detection import Detector, batch_losses, detect, sum_losses
from secateur.metrics.landmark_error import LandmarkError
from secateur.metrics.wider_face_metric import WiderFaceAP
from secateur.training_steps import count_training_steps, log_training_loss

SETTINGS = ("easy", "medium", "hard", "unlisted")


class DetectorTask(pl.LightningModule):
    """Train a detector with its own loss and validate it with WIDER FACE average precision.

    Args:
        network: EResFD, EXTD, YuNet or any module that keeps to ``detection.Detector``.
        optimizer: Takes the parameters, gives the optimiser.
        scheduler: Takes optimiser, total steps and steps per epoch; None keeps the rate constant.
        score_threshold: Detections with a lower score are dropped in validation.
        loss: Settings of the loss of this detector, such as ``negatives_per_positive``.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        scheduler: Callable[[Optimizer, int, int], LRScheduler] | None = None,
        score_threshold: float = 0.05,
        loss: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.score_threshold = score_threshold
        self.loss_settings = dict(loss or {})
        self.average_precision = WiderFaceAP(settings=SETTINGS)
        self.landmark_error = LandmarkError()

    @property
    def detector(self) -> Detector:
        """The network under the protocol that the type checker understands."""
        return cast("Detector", self.network)

    def losses(self, images: Tensor, faces: Sequence[Tensor]) -> dict[str, Tensor]:
        """Terms of the loss of one batch, by name.

        Args:
            images: (B, 3, H, W) as the preprocessing of the network makes them.
            faces: Per image (G, 4) corners in 0..1, or (G, 19) with landmarks.
        """
        return batch_losses(self.detector, images, faces, **self.loss_settings)

    def training_step(self, batch: tuple[Tensor, list[Tensor]], batch_idx: int) -> Tensor:
        """Total loss of one batch.

        Raises:
            InputError: If the loss is not a finite number.
        """
        images, faces = batch
        terms = self.losses(images, faces)
        total = sum_losses(terms)
        log_training_loss(self, total, terms, batch_idx, len(images))
        return total

    def transfer_batch_to_device(
        self,
        batch: Any,  # noqa: ANN401 - as the parent has it
        device: torch.device,
        dataloader_idx: int,
    ) -> Any:  # noqa: ANN401
        """Move training batches; pictures stay, only their images move, in ``validation_step``."""
        if isinstance(batch, list):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    @torch.no_grad()
    def detect(self, images: Tensor) -> list[Tensor]:
        """Faces of a batch.

        Args:
            images: (B, 3, H, W) as the preprocessing of the network makes them.

        Returns:
            Per image (K, 5) x1, y1, x2, y2 in 0..1 of the input and the score, or (K, 15) with
            landmarks.
        """
        return detect(self.detector, images, score_threshold=self.score_threshold)

    def validation_step(self, batch: Sequence[Picture], batch_idx: int) -> None:
        """Detect faces in pictures of one size and hand them to the metric."""
        images = torch.stack([picture.image for picture in batch]).to(self.device)
        for picture, rows in zip(batch, self.detect(images), strict=True):
            pixels = picture.to_pixels(rows)
            self.average_precision.update(
                pixels[:, :5], picture.faces, picture.evaluated, picture.participates
            )
            known = picture.landmarks is not None and pixels.shape[1] > 5
            # with nothing too, so that every process has been asked before they are gathered
            self.landmark_error.update(
                pixels if known else pixels.new_zeros(0, 15),
                picture.faces,
                picture.landmarks if picture.landmarks is not None else torch.zeros(0, 5, 3),
            )

    def on_validation_epoch_end(self) -> None:
        """Log the average precision of every setting that had faces, and that of landmarks."""
        values = self.average_precision.compute()
        self.average_precision.reset()
        # Pictures held out of training are no validation pictures: their figures are named apart.
        name = getattr(getattr(self.trainer, "datamodule", None), "validation_name", "val")
        if name != "val" and values:
            values["ap_mean"] = torch.stack([torch.as_tensor(v) for v in values.values()]).mean()
        if not self.landmark_error.update_called:  # torchmetrics would warn of it in every epoch
            nothing = torch.zeros(0, 15), torch.zeros(0, 4), torch.zeros(0, 5, 3)
            self.landmark_error.update(*nothing)
        error = self.landmark_error.compute()
        self.landmark_error.reset()
        if torch.isfinite(error):
            values["landmark_error"] = error
        self.log_dict({f"{name}/{key}": value for key, value in values.items()}, prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser and, stepped after every batch, the scheduler."""
        if self.make_optimizer is None:
            return None
        optimizer = self.make_optimizer(self.network.parameters())
        if self.make_scheduler is None:
            return optimizer
        total, per_epoch = count_training_steps(self.trainer)
        scheduler: Any = self.make_scheduler(optimizer, total, per_epoch)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
