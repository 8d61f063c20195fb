"""Training pictures with boxes, with boxes of another convention, and without any, in one set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.augmentations.face_augmentation import Augmentation
from secateur.data.face_dataset import FaceDataset, Key
from secateur.data.images import read_image
from secateur.data.preprocessing import RGB_MINUS_MEAN, Preprocessing
from secateur.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class Teaching(IntEnum):
    """What may be learned from the boxes of a picture.

    ``BOXES``: where faces are and how large. ``PRESENCE``: only where faces are, because the boxes
    follow another convention. ``TEACHER``: nothing; the picture serves to compare with a teacher.
    """

    TEACHER = 0
    PRESENCE = 1
    BOXES = 2


def read_conventions(conventions: Mapping[str, str]) -> dict[str, Teaching]:
    """What pictures teach, by pattern of their names.

    Args:
        conventions: Pattern of ``event/file.jpg``, or of the event alone -> ``boxes``,
            ``presence`` or ``teacher``.

    Raises:
        InputError: If a word is another.
    """
    words = {teaching.name.lower(): teaching for teaching in Teaching}
    for pattern, word in conventions.items():
        if word not in words:
            raise InputError(
                f"data.conventions of {pattern!r} must be boxes, presence or teacher, got {word!r}"
            )
    return {pattern: words[word] for pattern, word in conventions.items()}


def list_pictures(folders: Iterable[str | Path]) -> list[Path]:
    """All picture files below folders, in the order of their paths.

    Raises:
        InputError: If a folder does not exist or holds no picture.
    """
    files: list[Path] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(f"data.unlabelled: the folder {folder} does not exist")
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not found:
            raise InputError(
                f"data.unlabelled: {folder} holds no picture ({', '.join(SUFFIXES)}); name a "
                "folder with pictures in it or below it"
            )
        files += found
    return files


class MixedFaces(Dataset[tuple[Tensor, Tensor, int]]):
    """Labeled pictures, and between them others without labels.

    An epoch shows every labeled picture once and as many unlabelled ones, drawn anew, as their
    share asks for. Items are functions of (seed, epoch, index) alone.

    Args:
        labeled: The labeled pictures.
        conventions: What pictures teach, by pattern; the first that fits counts, and pictures that
            none fits teach their boxes.
        unlabelled: Files without labels.
        share: Of unlabelled pictures among all, in [0, 1).
        augmentation: For unlabelled pictures.
        seed: Of the run.
        preprocessing: Of the network.

    Raises:
        InputError: If the share is out of range.
    """

    def __init__(
        self,
        labeled: FaceDataset,
        conventions: Mapping[str, Teaching],
        unlabelled: Sequence[Path],
        share: float,
        augmentation: Augmentation,
        seed: int,
        preprocessing: Preprocessing = RGB_MINUS_MEAN,
    ) -> None:
        if not 0 <= share < 1:
            raise InputError(f"data.unlabelled_share must be at least 0 and below 1, got {share:g}")
        self.labeled = labeled
        self.unlabelled = list(unlabelled)
        self.augmentation = augmentation
        self.seed = seed
        self.preprocessing = preprocessing
        self.teaching = [
            teaching_of(annotation.name, conventions) for annotation in labeled.annotations
        ]
        self.n_unlabelled = round(len(labeled) * share / (1 - share)) if self.unlabelled else 0

    def __len__(self) -> int:
        """Pictures of an epoch."""
        return len(self.labeled) + self.n_unlabelled

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor, int]:
        """The item of an epoch and an index, as `EpochSampler` gives them.

        Returns:
            Image (3, S, S), faces (G, 4) in 0..1, and what they teach.

        Raises:
            InputError: If a picture cannot be read.
        """
        epoch, index = key
        if index < len(self.labeled):
            image, faces = self.labeled[key]
            return image, faces, int(self.teaching[index])
        generator = np.random.default_rng((self.seed, epoch, index))
        path = self.unlabelled[int(generator.integers(len(self.unlabelled)))]
        pixels, _ = self.augmentation(
            read_image(path), np.zeros((0, 4)), int(generator.integers(2**32))
        )
        return self.preprocessing(pixels), torch.zeros(0, 4), int(Teaching.TEACHER)


def teaching_of(name: str, conventions: Mapping[str, Teaching]) -> Teaching:
    """What a picture teaches.

    Args:
        name: ``event/file.jpg``.
        conventions: By pattern of the name or of the event.

    Examples:
        >>> teaching_of("62--Face_Mask/1.jpg", {"62--*": Teaching.PRESENCE}).name
        'PRESENCE'
    """
    for pattern, teaching in conventions.items():
        if fnmatchcase(name, pattern) or fnmatchcase(name.partition("/")[0], pattern):
            return teaching
    return Teaching.BOXES


def collate_mixed_faces(
    items: Sequence[tuple[Tensor, Tensor, int]],
) -> tuple[Tensor, list[Tensor], Tensor]:
    """A training batch: images (B, 3, S, S), per image faces (G, 4), and what they teach (B,)."""
    images, faces, teaching = zip(*items, strict=True)
    return torch.stack(images), list(faces), torch.tensor(teaching)
