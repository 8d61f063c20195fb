"""Pictures to hold an exported file against PyTorch with, at two sizes of which one is odd."""

from __future__ import annotations

import logging
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from torch import nn

from secateur.data.face_crop import MEAN, SCALE, SquareCut, crop_center, resize_shorter
from secateur.data.images import read_image
from secateur.detectors.detection import Detector
from secateur.errors import InputError
from secateur.schema import is_count
from secateur.workflows.build import build_data
from secateur.workflows.config.saved_config import saved_data, saved_model
from secateur.workflows.deploy.sources import picture_files
from secateur.workflows.loading import LoadedNetwork
from secateur.workflows.run_records import read_config

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

COUNT = 4
_SIZES = ((480, 640), (321, 437))  # height and width that pictures are fitted into


def sample_pictures(config: DictConfig, loaded: LoadedNetwork) -> list[Pixels]:
    """Pictures of the configuration: of ``source=``, or those that the run was validated on.

    Args:
        config: Composed ``conf/export.yaml``.
        loaded: The network.

    Returns:
        (H, W, 3) RGB, alternately of an even and an odd size; cut for a recognizer.

    Raises:
        InputError: If there are none.
    """
    if config.source is not None:
        found = [read_image(path) for path in picture_files(str(config.source))[:COUNT]]
        if loaded.cut is not None:
            square = SquareCut(loaded.cut.side, loaded.cut.shorter_side)
            return [cut_square(crop_center(p, loaded.cut.center), square) for p in found]
    else:
        found = _of_run(loaded)
    if loaded.cut is not None:
        return found
    return [fit(picture, *_SIZES[index % 2]) for index, picture in enumerate(found)]


def fit(picture: Pixels, height: int, width: int) -> Pixels:
    """A picture of exactly that size; proportions do not matter to the comparison."""
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)


def cut_square(picture: Pixels, square: SquareCut) -> Pixels:
    """The middle square that a recognizer is shown, before it is normalized."""
    resized = resize_shorter(picture, square.side)
    top, left = ((side - square.size) // 2 for side in resized.shape[:2])
    return np.ascontiguousarray(resized[top : top + square.size, left : left + square.size])


def _of_run(loaded: LoadedNetwork) -> list[Pixels]:
    """Validation pictures of the run; for a recognizer as it is shown them."""
    if loaded.trained_in is None:
        raise InputError(
            f"{loaded.name} comes from no run whose pictures could be used: give some with "
            "source=FOLDER"
        )
    values, path = read_config(loaded.trained_in), loaded.trained_in / "config.yaml"
    seed = values.get("seed")
    config = OmegaConf.create(
        {
            "data": saved_data(values, path),
            "model": saved_model(values, path),
            "seed": seed if is_count(seed) else 0,
        }
    )
    network = loaded.network if isinstance(loaded.network, nn.Module) else None
    data = build_data(config, network if loaded.task == "detection" else None)
    data.prepare_data()
    data.setup("validate")
    log.info("compared on validation pictures of %s", config.data.name)
    images = data.validation_images(COUNT)
    if loaded.task == "detection":
        seen = cast("Detector", loaded.network).preprocessing
        return [seen.restore(image) for image in images]
    mean, scale = (torch.tensor(values)[:, None, None] for values in (MEAN, SCALE))
    pixels = [(image * scale + mean).round().clamp(0, 255).byte() for image in images]
    return [np.ascontiguousarray(each.permute(1, 2, 0).numpy()) for each in pixels]
