"""Datasets of pictures with faces: augmented items for training, whole pictures for evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from secateur.data.annotations import Annotation
from secateur.data.augmentations.face_augmentation import Augmentation
from secateur.data.ground_truth import OFFICIAL_SETTINGS, GroundTruth
from secateur.data.images import read_image, read_size, shrink, shrunk_size
from secateur.data.landmark_annotations import landmarks_of_boxes
from secateur.data.landmarks import COUNT, join_landmarks
from secateur.data.preprocessing import RGB_MINUS_MEAN, Preprocessing
from secateur.errors import InputError

SETTINGS = (*OFFICIAL_SETTINGS, "unlisted")

"""Order of the masks of a picture; ``unlisted`` = all faces of pictures on no official list."""

MAX_PIXELS = 1700 * 1200

_REPLACEMENTS = 10

Key = tuple[int, int]


class FaceDataset(Dataset[tuple[Tensor, Tensor]]):
    """Training items, each a function of (seed, epoch, index) alone.

    Args:
        folder: Folder of the split's images.
        annotations: Pictures; those without a box of positive size are passed over.
        augmentation: Turns a picture and its faces into an item.
        seed: Seed of the run.
        preprocessing: Preprocessing of the network.

    Raises:
        InputError: If no picture has a face.
    """

    def __init__(
        self,
        folder: Path,
        annotations: Sequence[Annotation],
        augmentation: Augmentation,
        seed: int,
        preprocessing: Preprocessing = RGB_MINUS_MEAN,
    ) -> None:
        self.folder = folder
        self.annotations = [item for item in annotations if len(item.boxes)]
        if not self.annotations:
            raise InputError(f"no picture of {folder} has a face to train on: check its annotation")
        self.augmentation = augmentation
        self.seed = seed
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.annotations)

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        """The item of an epoch and an index, as `EpochSampler` gives them.

        Returns:
            Image (3, S, S) as the network takes it, and faces (G, 4), G >= 1, corners in 0..1, or
            (G, 19) where the annotations tell landmarks, see ``landmarks``.

        Raises:
            InputError: If the picture cannot be read, or this one and its replacements keep no
                face (boxes beyond the border).
        """
        epoch, index = key
        sequence = np.random.SeedSequence((self.seed, epoch, index))
        seed = int(sequence.generate_state(1)[0])
        for replacement in range(_REPLACEMENTS):
            annotation = self.annotations[index]
            image = read_image(self.folder / annotation.name)
            height, width = image.shape[:2]
            corners = annotation.boxes / [width, height, width, height]
            corners[:, 2:] += corners[:, :2]
            rows = join_landmarks(corners, _in_fractions(annotation.landmarks, height, width))
            augmented, faces = self.augmentation(image, rows, seed)
            if len(faces):
                return self.preprocessing(augmented), torch.from_numpy(faces)
            index = int(np.random.default_rng((seed, replacement)).integers(len(self)))
        raise InputError(
            f"{annotation.name} and {_REPLACEMENTS - 1} other pictures of {self.folder} have no "
            "face inside their borders: check the boxes"
        )


def _in_fractions(
    landmarks: NDArray[np.float32] | None, height: int, width: int
) -> NDArray[np.float64] | None:
    """Landmarks (G, 5, 3) with x and y in 0..1 of the picture."""
    return None if landmarks is None else landmarks / np.array([width, height, 1.0])


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture of an evaluation.

    Attributes:
        name: ``event/file.jpg``.
        image: (3, H, W) as the network takes it.
        scale: Factor by which the original was resized, at most 1.
        faces: (G, 4) x, y, width, height in pixels of the original, all faces of the picture.
        participates: (4,) whether the picture counts in each of ``SETTINGS``.
        evaluated: (4, G) whether a face counts there; the others are ignored.
        landmarks: (G, 5, 3) x, y and weight in pixels of the original, where they are known.
    """

    name: str
    image: Tensor
    scale: float
    faces: Tensor
    participates: Tensor
    evaluated: Tensor
    landmarks: Tensor | None = None

    def to_pixels(self, detections: Tensor) -> Tensor:
        """Detections of the image in pixels of the original.

        Args:
            detections: (K, 5) x1, y1, x2, y2 in 0..1, score; or (K, 15) with landmarks.

        Returns:
            The same rows in pixels.
        """
        height, width = self.image.shape[-2:]
        x, y = width / self.scale, height / self.scale
        factor = [x, y, x, y, 1.0, *([x, y] * COUNT)]
        return detections * detections.new_tensor(factor[: detections.shape[1]])


class FacePictures(Dataset[Picture]):
    """Whole pictures at their original size, capped in pixels, with what is evaluated on them.

    Args:
        folder: Folder of the split's images.
        annotations: Pictures, also those without faces.
        truth: Official ground truth; pictures that it does not know are ``unlisted``, and all
            their boxes of positive size are evaluated.
        max_pixels: Larger pictures are shrunk to about this number (spec of the published tests:
            1700 x 1200).
        preprocessing: Preprocessing of the network.
    """

    def __init__(
        self,
        folder: Path,
        annotations: Sequence[Annotation],
        truth: GroundTruth | None = None,
        max_pixels: int = MAX_PIXELS,
        preprocessing: Preprocessing = RGB_MINUS_MEAN,
    ) -> None:
        self.folder = folder
        self.annotations = list(annotations)
        self.max_pixels = max_pixels
        self.preprocessing = preprocessing
        self._boxes: Mapping[str, NDArray[np.float64]] = truth.boxes if truth else {}
        self._evaluated: Mapping[str, NDArray[np.bool_]] = truth.evaluated if truth else {}

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.annotations)

    def __getitem__(self, index: int) -> Picture:
        """One picture.

        Raises:
            InputError: If it cannot be read.
        """
        annotation = self.annotations[index]
        image, scale = shrink(read_image(self.folder / annotation.name), self.max_pixels)
        boxes, masks = self.faces(index)
        landmarks = landmarks_of_boxes(boxes, annotation)
        evaluated = np.zeros((len(SETTINGS), len(boxes)), np.bool_)
        for row, setting in enumerate(SETTINGS):
            evaluated[row] = masks.get(setting, False)
        return Picture(
            annotation.name,
            self.preprocessing(image),
            scale,
            torch.from_numpy(boxes.astype(np.float32)),
            torch.tensor([setting in masks for setting in SETTINGS]),
            torch.from_numpy(evaluated),
            None if landmarks is None else torch.from_numpy(landmarks),
        )

    def faces(self, index: int) -> tuple[NDArray[np.float64], dict[str, NDArray[np.bool_]]]:
        """Faces of one picture, without reading it.

        Returns:
            (G, 4) x, y, width, height in pixels of the original, and for each setting that the
            picture takes part in, a (G,) mask of the faces that count there.
        """
        annotation = self.annotations[index]
        if annotation.name in self._boxes:
            masks = self._evaluated[annotation.name]
            rows = {setting: masks[row, :] for row, setting in enumerate(OFFICIAL_SETTINGS)}
            return self._boxes[annotation.name], rows
        boxes = annotation.boxes.astype(np.float64)
        return boxes, {SETTINGS[-1]: np.all(boxes[:, 2:] > 0, axis=1)}

    @property
    def n_listed(self) -> int:
        """Number of pictures on the official lists."""
        return sum(item.name in self._boxes for item in self.annotations)

    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of every picture as it will be given, from the file headers."""
        return [
            shrunk_size(*read_size(self.folder / item.name), self.max_pixels)[:2]
            for item in self.annotations
        ]


def collate_faces(items: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[Tensor]]:
    """A training batch: images (B, 3, S, S) and, per image, faces (G, 4)."""
    return torch.stack([image for image, _ in items]), [faces for _, faces in items]


def collate_pictures(items: Sequence[Picture]) -> list[Picture]:
    """An evaluation batch: the pictures as they are, all of one size."""
    return list(items)


def holdout_indices(count: int, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Split 0..count-1 at random, the same way for the same seed.

    Args:
        count: Number of pictures.
        fraction: Share that is held out, 0..1; rounded to whole pictures.
        seed: Seed of the split.

    Returns:
        Rising indices to train on, and rising indices held out.

    Raises:
        InputError: If the fraction leaves nothing to train on or holds out nothing.
    """
    if not 0 <= fraction < 1:
        raise InputError(f"holdout must be at least 0 and below 1, got {fraction}")
    held = round(count * fraction)
    if fraction > 0 and not 0 < held < count:
        raise InputError(f"holdout={fraction} of {count} pictures leaves one part empty: change it")
    order = np.random.default_rng((seed, 0x5EC)).permutation(count)
    return sorted(order[held:].tolist()), sorted(order[:held].tolist())
