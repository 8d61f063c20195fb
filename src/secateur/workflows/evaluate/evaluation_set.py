"""EvaluationSet: the pictures of an evaluation and the faces that count on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from secateur.data.face_dataset import FacePictures
from secateur.data.ground_truth import OFFICIAL_SETTINGS, read_ground_truth
from secateur.data.images import read_image, read_size
from secateur.errors import InputError
from secateur.metrics.wider_face import SETTINGS, Evaluation, evaluate_wider_face

WHOLE = "all"

"""Setting of every face of every picture; of interest where only some are on official lists."""


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationSet:
    """Pictures by name ``event/file.jpg``, in the order of their list.

    Attributes:
        folder: Folder of the pictures; None where there is ground truth alone.
        faces: (G, 4) x, y, width, height in pixels.
        evaluated: For each setting that a picture takes part in, a (G,) mask of the faces that
            count there.
    """

    folder: Path | None
    faces: Mapping[str, NDArray[np.float64]]
    evaluated: Mapping[str, Mapping[str, NDArray[np.bool_]]]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.faces)

    @property
    def names(self) -> list[str]:
        """Names of the pictures."""
        return list(self.faces)

    @property
    def n_listed(self) -> int:
        """Number of pictures on the official lists."""
        return sum(SETTINGS[-1] not in masks for masks in self.evaluated.values())

    def select(self, only: str, limit: int | None) -> EvaluationSet:
        """Some of the pictures.

        Args:
            only: ``all``, ``listed`` for those on the official lists, or ``unlisted``.
            limit: At most so many, the first ones.

        Raises:
            InputError: If an argument is impossible or no picture is left.
        """
        if only not in ("all", "listed", "unlisted"):
            raise InputError(f"only={only} is unknown; choose all, listed or unlisted")
        if limit is not None and limit < 1:
            raise InputError(f"limit={limit} leaves no picture; give at least 1")
        names = [
            name
            for name, masks in self.evaluated.items()
            if only == "all" or (only == "unlisted") == (SETTINGS[-1] in masks)
        ][:limit]
        if not names:
            raise InputError(f"only={only} leaves no picture of {len(self)}; use only=all")
        return EvaluationSet(
            self.folder,
            {name: self.faces[name] for name in names},
            {name: self.evaluated[name] for name in names},
        )

    def score(self, predictions: Mapping[str, NDArray[np.float64]]) -> Evaluation:
        """Average precision per setting.

        Args:
            predictions: (P, 5) x, y, width, height, score in pixels by name.
        """
        evaluated = self.evaluated
        settings: Sequence[str] = SETTINGS
        if 0 < self.n_listed < len(self):
            settings = (*SETTINGS, WHOLE)
            evaluated = {
                name: {**masks, WHOLE: np.all(self.faces[name][:, 2:] > 0, axis=1)}
                for name, masks in evaluated.items()
            }
        return evaluate_wider_face(predictions, self.faces, evaluated, settings)


class PictureFiles(Dataset[tuple[str, NDArray[np.uint8]] | InputError]):
    """The pictures themselves, read when asked for.

    An unreadable picture is returned as an error, because one that is raised in a loading process
    arrives wrapped in the text of its traceback.

    Args:
        folder: Folder of the pictures.
        names: Pictures as ``event/file.jpg``.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = folder
        self.names = list(names)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[str, NDArray[np.uint8]] | InputError:
        """Name and (H, W, 3) RGB, or what is wrong with the file."""
        try:
            return self.names[index], read_image(self.folder / self.names[index])
        except InputError as error:
            return error

    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of every picture, from the file headers."""
        return [read_size(self.folder / name) for name in self.names]


def set_of_pictures(pictures: FacePictures) -> EvaluationSet:
    """The set that a datamodule gives."""
    truth = {item.name: pictures.faces(i) for i, item in enumerate(pictures.annotations)}
    return EvaluationSet(
        pictures.folder,
        {name: boxes for name, (boxes, _) in truth.items()},
        {name: masks for name, (_, masks) in truth.items()},
    )


def set_of_ground_truth(folder: Path) -> EvaluationSet:
    """All pictures of the four official .mat files, without the pictures themselves."""
    truth = read_ground_truth(folder)
    return EvaluationSet(
        None,
        truth.boxes,
        {
            name: {setting: masks[row, :] for row, setting in enumerate(OFFICIAL_SETTINGS)}
            for name, masks in truth.evaluated.items()
        },
    )
