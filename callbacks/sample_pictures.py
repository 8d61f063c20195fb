"""SamplePictures: validation pictures with boxes, as one page and in the logger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.loggers import WandbLogger

from secateur.data.face_dataset import FacePictures, Picture
from secateur.detectors.task import DetectorTask
from secateur.metrics.predictions import from_corners
from secateur.reports.pictures import match_detections, write_page
from secateur.reports.wandb_pictures import wandb_images

MIN_SCORE = 0.5


class SamplePictures(pl.Callback):
    """Draws the same validation pictures after every n-th validation.

    Args:
        folder: Run folder; the page is ``plots/pictures.png`` in it.
        n_pictures: How many pictures, spread over the validation set.
        every_n_epochs: How often; the last epoch is always drawn.
    """

    def __init__(self, folder: Path, n_pictures: int = 8, every_n_epochs: int = 10) -> None:
        self.path = Path(folder) / "plots" / "pictures.png"
        self.n_pictures = n_pictures
        self.every_n_epochs = every_n_epochs

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw if it is time and the task detects faces."""
        pictures = _pictures(trainer)
        if trainer.state.fn != "fit" or pictures is None or not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch
        last = epoch + 1 == trainer.max_epochs
        if (epoch % self.every_n_epochs and not last) or not isinstance(pl_module, DetectorTask):
            return
        step = max(1, len(pictures) // self.n_pictures)
        chosen = [pictures[index] for index in range(0, len(pictures), step)][: self.n_pictures]
        detected = [_detect(pl_module, picture) for picture in chosen]
        restore = pl_module.detector.preprocessing.restore
        page = [
            match_detections(
                restore(picture.image),
                from_corners(rows),
                picture.faces.numpy() * picture.scale,
                title=picture.name,
                min_score=MIN_SCORE,
            )
            for picture, rows in zip(chosen, detected, strict=True)
        ]
        write_page(self.path, page, title=f"epoch {epoch}")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.log({"val/pictures": wandb_images(page)})


def _pictures(trainer: pl.Trainer) -> FacePictures | None:
    data = getattr(trainer, "datamodule", None)
    find = getattr(data, "validation_pictures", None)
    pictures = find() if find else None
    return pictures if isinstance(pictures, FacePictures) else None


def _detect(task: DetectorTask, picture: Picture) -> NDArray[np.float64]:
    """Detections (K, 5) x1, y1, x2, y2 in pixels of the network's input, and score."""
    training = task.network.training
    task.network.eval()
    (rows,) = task.detect(picture.image[None].to(task.device))
    rows = rows[:, :5]
    task.network.train(training)
    height, width = picture.image.shape[-2:]
    scale = rows.new_tensor([width, height, width, height, 1.0])
    return (rows * scale).cpu().double().numpy()
