"""Calibration: training pictures that ranges come from, and others that judge an int8 file."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from secateur.data.images import read_image
from secateur.datamodules.identities import IdentitiesData
from secateur.datamodules.widerface import WiderFaceData
from secateur.deploy.description import Description
from secateur.deploy.executorch import largest_side
from secateur.deploy.exported import ExportedDetector, ExportedFaces
from secateur.deploy.parity import opened
from secateur.deploy.pixels import preprocess
from secateur.deploy.sessions import Array
from secateur.detectors.detection import detect
from secateur.detectors.protocols import SingleScale
from secateur.errors import InputError
from secateur.metrics.all_pairs import roc_all_pairs
from secateur.metrics.roc import equal_error
from secateur.workflows.build import build_data
from secateur.workflows.config.saved_config import saved_data, saved_model
from secateur.workflows.deploy.sample_pictures import cut_square
from secateur.workflows.evaluate.evaluation_set import PictureFiles, set_of_pictures
from secateur.workflows.evaluate.inference import detect_set
from secateur.workflows.loading import LoadedNetwork
from secateur.workflows.run_records import read_config

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

_HEIGHT, _WIDTH = 480, 640
_HOLDOUT = 0.1  # where the run held nothing out


@dataclass(frozen=True, slots=True)
class Calibration:
    """What an int8 file is made and judged with.

    Attributes:
        inputs: What the network takes, one picture each.
        judge: Figure of a file on other training pictures; more is better.
        figure: Name of the figure.
        about: Where the pictures come from, in words.
    """

    inputs: list[Array]
    judge: Callable[[Path], float]
    figure: str
    about: str


def find_calibration(
    config: DictConfig, loaded: LoadedNetwork, description: Description
) -> Calibration:
    """The pictures that the configuration names, or those that the run was trained on.

    Args:
        config: Composed ``conf/export.yaml``.
        loaded: The network.
        description: Of the file.

    Raises:
        InputError: If there are none.
    """
    options = config.calibration
    count, judged = int(options.pictures), int(options.judged)
    if count < 1 or judged < 1:
        raise InputError("calibration.pictures and calibration.judged have to be at least 1")
    data = _data(config, loaded)
    data.prepare_data()
    data.setup("fit")
    if loaded.task == "detection":
        return _of_faces(data, description, count, judged)
    return _of_people(data, loaded, description, count, judged)


def _data(config: DictConfig, loaded: LoadedNetwork) -> Any:
    """The datamodule of ``calibration.data=``, or that of the run."""
    root = config.calibration.data
    if root is not None:
        if loaded.task == "recognition":
            assert loaded.cut is not None
            return IdentitiesData(
                str(root),
                centre=loaded.cut.center,
                input_size=loaded.cut.side,
                shorter_side=loaded.cut.shorter_side,
                num_workers=0,
            )
        preprocessing = cast("Any", loaded.network).preprocessing
        return WiderFaceData(
            str(root),
            holdout=_HOLDOUT,
            official_lists=False,
            num_workers=0,
            preprocessing=preprocessing,
        )
    if loaded.trained_in is None:
        raise InputError(
            f"quantize=int8 is decided on training pictures and {loaded.name} comes from no run: "
            "give calibration.data=FOLDER, the root of a training set in the layout of WIDER FACE "
            "for a detector, or of folders of people for a recognizer"
        )
    values, path = read_config(loaded.trained_in), loaded.trained_in / "config.yaml"
    saved = OmegaConf.create(
        {
            "data": saved_data(values, path),
            "model": saved_model(values, path),
            "seed": int(values.get("seed") or 0),
        }
    )
    if loaded.task == "detection" and not saved.data.get("holdout"):
        with open_dict(saved):
            saved.data.holdout = _HOLDOUT
    network = loaded.network if isinstance(loaded.network, nn.Module) else None
    return build_data(saved, network if loaded.task == "detection" else None)


def _of_faces(data: Any, description: Description, count: int, judged: int) -> Calibration:
    """A detector is judged by its average precision on held-out training pictures."""
    training = data.training_pictures()
    order = np.random.default_rng(0).permutation(len(training.annotations))[:count]
    names = [training.annotations[index].name for index in order]
    pictures = [cover(read_image(training.folder / name), _HEIGHT, _WIDTH) for name in names]
    held = set_of_pictures(data.holdout_pictures()).select("all", judged)
    assert held.folder is not None
    files = PictureFiles(held.folder, held.names)

    looks = SingleScale(max_side=largest_side(description.format))

    def judge(path: Path) -> float:
        run = opened(path, torch.get_num_threads())
        find: Callable[[torch.Tensor], list[torch.Tensor]]
        if description.pixels.type == "uint8":
            faces = ExportedFaces(path, description, run)
            find, preprocessing = faces.detect, faces.preprocessing
        else:
            detector = ExportedDetector(path, description, run)
            assert description.suppression is not None
            limits: dict[str, Any] = {
                "score_threshold": description.suppression.score_threshold,
                "iou_threshold": description.suppression.iou_threshold,
                "max_candidates": description.suppression.max_candidates,
                "max_faces": description.suppression.max_faces,
            }
            find = functools.partial(detect, detector, **limits)
            preprocessing = detector.preprocessing
        found = detect_set(find, files, looks, preprocessing, progress=False)  # type: ignore[arg-type]
        assert found is not None
        (setting,) = held.score(found.boxes).settings.values()
        return setting.ap

    about = (
        f"ranges from {len(pictures)} training pictures at {_WIDTH}x{_HEIGHT}, judged on "
        f"{len(held)} others of {Path(data.root).name}"
    )
    return Calibration([_input(p, description) for p in pictures], judge, "AP", about)


def _of_people(
    data: Any, loaded: LoadedNetwork, description: Description, count: int, judged: int
) -> Calibration:
    """A recognizer is judged by 1 - EER over all pairs of some training pictures."""
    assert loaded.cut is not None
    images, labels, _ = data.labeled
    order = np.argsort(labels, kind="stable")  # whole people, so that there are pairs of one
    judging, rest = order[:judged], order[judged:]
    if len(np.unique(labels[judging])) < 2 or not len(rest):
        raise InputError(
            f"calibration.judged={judged} training pictures show one person only, or leave none to "
            "calibrate on: set another number"
        )
    chosen = np.random.default_rng(0).permutation(rest)[:count]
    square = data.cut

    def cut(index: int) -> Pixels:
        return cut_square(images[int(index)], square)

    shown = [_input(cut(index), description) for index in judging]
    identity = torch.from_numpy(labels[judging])

    def judge(path: Path) -> float:
        run = opened(path, torch.get_num_threads())
        rows = [run(array)[0] for array in shown]
        rate, _ = equal_error(roc_all_pairs(torch.from_numpy(np.concatenate(rows)), identity))
        return 1 - rate

    about = (
        f"ranges from {len(chosen)} training pictures, judged on all pairs of {len(judging)} others"
    )
    return Calibration(
        [_input(cut(index), description) for index in chosen], judge, "1 - EER", about
    )


def cover(picture: Pixels, height: int, width: int) -> Pixels:
    """The middle of a picture that is scaled to cover a size, proportions kept.

    Examples:
        >>> cover(np.zeros((100, 100, 3), np.uint8), 480, 640).shape
        (480, 640, 3)
    """
    scale = max(height / picture.shape[0], width / picture.shape[1])
    size = (
        max(width, round(picture.shape[1] * scale)),
        max(height, round(picture.shape[0] * scale)),
    )
    scaled = cv2.resize(
        picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])


def _input(picture: Pixels, description: Description) -> Array:
    """What the file takes of one picture."""
    if description.pixels.type == "uint8":
        return picture[None]
    array: Array = preprocess(picture, description.pixels).numpy()
    return array
