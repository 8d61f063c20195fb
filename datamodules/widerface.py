"""WiderFaceData: pictures with faces in the layout of WIDER FACE."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from secateur.data.annotations import Annotation, read_annotations, without_degenerate_boxes
from secateur.data.augmentations.face_augmentation import Augmentation, FaceAugmentation
from secateur.data.face_dataset import (
    MAX_PIXELS,
    FaceDataset,
    FacePictures,
    Picture,
    collate_faces,
    collate_pictures,
    holdout_indices,
)
from secateur.data.ground_truth import lists_by_size, read_ground_truth
from secateur.data.landmark_annotations import read_landmark_annotations, with_landmarks
from secateur.data.mixed_faces import (
    MixedFaces,
    collate_mixed_faces,
    list_pictures,
    read_conventions,
)
from secateur.data.mosaic import MosaicFaces
from secateur.data.preprocessing import RGB_MINUS_MEAN, Preprocessing
from secateur.data.samplers import EpochSampler, SizeBatchSampler
from secateur.data.wider_layout import Split, WiderLayout, find_layout
from secateur.datamodules.loading import checked_workers, draw_inputs, loader_settings
from secateur.errors import InputError
from secateur.training_steps import upcoming_epoch

log = logging.getLogger(__name__)


class WiderFaceData(pl.LightningDataModule):
    """Training and validation pictures of WIDER FACE, or of any set in its layout.

    The Trainer must be made with ``use_distributed_sampler=False``: the samplers here know their
    share of a distributed run.

    Args:
        root: Folder with ``WIDER_train``, ``WIDER_val`` and ``wider_face_split``.
        input_size: Side of the training images.
        batch_size: Training images per step and process.
        eval_batch_size: Validation pictures per step; only pictures of equal size share a step.
        num_workers: Processes that load; None takes two, or as many as there are cores.
        seed: Seed of shuffling and augmentation.
        download: Fetch what is missing through torchvision.
        official_lists: Read the Easy, Medium and Hard lists; without them every validation
            picture is ``unlisted``.
        max_pixels: Larger validation pictures are shrunk to about this number.
        holdout: Share of the training pictures that is kept from training, for a search.
        holdout_seed: Seed of the choice of these pictures.
        augmentation: Other arguments of `FaceAugmentation`, or what makes another augmentation of
            the input size.
        preprocessing: Preprocessing of the network.
        landmarks: Whether to read five landmarks: from ``labelv2/SPLIT/labelv2.txt`` under the
            root if it is there, or for training from the file of this path.
        unlabelled: Folders of pictures without boxes, for training with a teacher.
        unlabelled_share: Share of these among the pictures of an epoch, in [0, 1).
        conventions: What the boxes of training pictures teach, by pattern of the picture's name
            or event: ``boxes``, ``presence`` (only where faces are) or ``teacher`` (nothing).
        mosaic: Share of the training items that are joined with three others into one picture of
            half their size, in [0, 1].
        validate_on_holdout: Whether a training is validated on the held-out pictures, so that
            nothing is chosen by validation pictures.
    """

    def __init__(
        self,
        root: str | Path | None,
        input_size: int = 640,
        batch_size: int = 16,
        eval_batch_size: int = 1,
        num_workers: int | None = None,
        seed: int = 0,
        download: bool = False,
        official_lists: bool = True,
        max_pixels: int = MAX_PIXELS,
        holdout: float = 0.0,
        holdout_seed: int = 0,
        augmentation: Mapping[str, Any] | Callable[[int], Augmentation] | None = None,
        preprocessing: Preprocessing = RGB_MINUS_MEAN,
        landmarks: bool | str | Path = False,
        unlabelled: Sequence[str] = (),
        unlabelled_share: float = 0.3,
        conventions: Mapping[str, str] | None = None,
        mosaic: float = 0.0,
        validate_on_holdout: bool = False,
    ) -> None:
        super().__init__()
        self.root = root
        self.input_size = input_size
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = checked_workers(batch_size, eval_batch_size, num_workers)
        self.seed = seed
        self.download = download
        self.official_lists = official_lists
        self.max_pixels = max_pixels
        self.holdout = holdout
        self.holdout_seed = holdout_seed
        self.augmentation: Augmentation = (
            augmentation(input_size)
            if callable(augmentation)
            else FaceAugmentation(input_size, **(augmentation or {}))
        )
        self.preprocessing = preprocessing
        self.landmarks = landmarks
        self.unlabelled = list_pictures(unlabelled)
        self.unlabelled_share = unlabelled_share
        self.conventions = read_conventions(conventions or {})
        self.mosaic = mosaic
        self.validate_on_holdout = validate_on_holdout
        self._training: FaceDataset | None = None
        self._mixed: MixedFaces | None = None
        self._held_out: FacePictures | None = None
        self._validation: FacePictures | None = None
        self._n_official = 0

    def prepare_data(self) -> None:
        """Fetch what is missing, if asked for; one process per machine does it."""
        if self.download:
            find_layout(self._checked_root(), download=True)

    def setup(self, stage: str | None = None) -> None:
        """Read the annotation and check that every picture is there.

        Args:
            stage: What Lightning prepares for; training pictures are read for ``fit`` and None.

        Raises:
            InputError: If the root, a part of the layout or a listed picture is missing.
        """
        training = stage in (None, "fit")
        splits: tuple[Split, ...] = ("train", "val") if training else ("val",)
        layout = find_layout(self._checked_root(), splits)
        if self._validation is None:
            annotations = self._with_landmarks(layout, "val", _read_split(layout, "val"))
            truth = read_ground_truth(layout.ground_truth()) if self.official_lists else None
            self._n_official = len(truth) if truth else 0
            self._validation = FacePictures(
                layout.images("val"), annotations, truth, self.max_pixels, self.preprocessing
            )
        if training and self._training is None:
            annotations = self._with_landmarks(layout, "train", _read_split(layout, "train"))
            annotations = without_degenerate_boxes(annotations)
            annotations = [item for item in annotations if len(item.boxes)]
            kept, held = holdout_indices(len(annotations), self.holdout, self.holdout_seed)
            folder = layout.images("train")
            self._training = FaceDataset(
                folder,
                [annotations[index] for index in kept],
                self.augmentation,
                self.seed,
                self.preprocessing,
            )
            self._held_out = FacePictures(
                folder,
                [annotations[index] for index in held],
                max_pixels=self.max_pixels,
                preprocessing=self.preprocessing,
            )

    def training_items(self) -> FaceDataset | MixedFaces | MosaicFaces:
        """What a training reads: the training set, with unlabelled pictures and as mosaics."""
        items = self._mixed_items()
        return MosaicFaces(items, self.mosaic, self.seed) if self.mosaic else items

    def _mixed_items(self) -> FaceDataset | MixedFaces:
        """The training set, with unlabelled pictures if there are any."""
        labeled = self.training_pictures()
        if not self.unlabelled and not self.conventions:
            return labeled
        if self._mixed is None:
            self._mixed = MixedFaces(
                labeled,
                self.conventions,
                self.unlabelled,
                self.unlabelled_share,
                self.augmentation,
                self.seed,
                self.preprocessing,
            )
        return self._mixed

    def recovery_pictures(self, count: int) -> Tensor:
        """Images (count, 3, S, S) of a training, for what needs no labels.

        Args:
            count: How many; fewer if there are fewer training pictures.
        """
        return draw_inputs(self.training_items(), count, self.seed)

    def training_pictures(self) -> FaceDataset:
        """The training set; its keys are (epoch, index)."""
        if self._training is None:
            raise RuntimeError('call setup("fit") first')
        return self._training

    def validation_pictures(self) -> FacePictures:
        """The validation set."""
        if self._validation is None:
            raise RuntimeError("call setup() first")
        return self._validation

    def validation_images(self, count: int) -> list[Tensor]:
        """Images (3, H, W) of the first validation pictures, to compare two networks on."""
        pictures = self.validation_pictures()
        images = [pictures[index].image for index in range(min(count, len(pictures)))]
        return [self.preprocessing.pad(image[None])[0] for image in images]

    def holdout_pictures(self) -> FacePictures:
        """The training pictures that are kept from training, all faces ``unlisted``."""
        if self._held_out is None:
            raise RuntimeError('call setup("fit") first')
        return self._held_out

    @property
    def coverage(self) -> str:
        """How much of the official validation set there is."""
        pictures = self.validation_pictures()
        others = len(pictures) - pictures.n_listed
        text = f"{pictures.n_listed:,} of {self._n_official:,} official validation pictures"
        if not self._n_official:
            text = "no official lists"
        return f"{text}, {others:,} others (setting unlisted)" if others else text

    def describe(self) -> str:
        """One line for the log."""
        parts = [] if self._training is None else [f"{len(self._training):,} training pictures"]
        if self._held_out is not None and len(self._held_out):
            parts.append(f"{len(self._held_out):,} held out")
        if self.unlabelled:
            parts.append(
                f"{len(self.unlabelled):,} without labels ({self.unlabelled_share:.0%} of an epoch)"
            )
        if self.mosaic:
            parts.append(f"{self.mosaic:.0%} as mosaics")
        return f"{self.root}: {', '.join([*parts, 'validation on ' + self.coverage])}"

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Batches of images (B, 3, S, S) and, per image, faces (G, 4)."""
        dataset = self.training_items()
        sampler = EpochSampler(len(dataset), self.seed)
        if self.trainer is not None:
            sampler.set_epoch(upcoming_epoch(self.trainer))
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            collate_fn=collate_faces if self._mixed is None else collate_mixed_faces,
            **loader_settings(self.num_workers, self.batch_size * 12 * self.input_size**2),
        )

    def val_dataloader(self) -> DataLoader[Picture]:
        """Lists of pictures of one size: of validation, or held out of the training under way."""
        if self.validation_name != "val":
            return self.evaluation_dataloader(self.monitored_pictures())
        return self.evaluation_dataloader(self.validation_pictures())

    @property
    def validation_name(self) -> str:
        """What figures of the validation under way are called: ``val`` or ``holdout``."""
        fitting = self.trainer is not None and self.trainer.state.fn == "fit"
        held_out = self._held_out is not None and len(self._held_out) > 0
        return "holdout" if self.validate_on_holdout and fitting and held_out else "val"

    def monitored_pictures(self) -> FacePictures:
        """The held-out training pictures, with lists by the size of faces."""
        pictures = self.holdout_pictures()
        truth = lists_by_size({item.name: item.boxes for item in pictures.annotations})
        return FacePictures(
            pictures.folder, pictures.annotations, truth, self.max_pixels, self.preprocessing
        )

    def holdout_dataloader(self) -> DataLoader[Picture]:
        """Lists of held-out pictures of one size."""
        return self.evaluation_dataloader(self.holdout_pictures())

    def evaluation_dataloader(self, pictures: FacePictures) -> DataLoader[Picture]:
        """Lists of pictures of one size, every picture once over all processes."""
        sizes: Sequence[object]
        known = pictures.sizes() if self.eval_batch_size > 1 else []
        sizes = known or [None] * len(pictures)
        largest = max((height * width for height, width in known), default=self.max_pixels)
        return DataLoader(
            pictures,
            batch_sampler=SizeBatchSampler(sizes, self.eval_batch_size),
            collate_fn=collate_pictures,
            **loader_settings(self.num_workers, self.eval_batch_size * 12 * largest),
        )

    def _with_landmarks(
        self, layout: WiderLayout, split: Split, annotations: list[Annotation]
    ) -> list[Annotation]:
        """Annotations of a split, with landmarks if they are wanted and there."""
        if self.landmarks is False:
            return annotations
        path = layout.landmark_file(split)
        if self.landmarks is not True and split == "train":
            path = Path(self.landmarks)
        elif not path.is_file():
            log.info("%s does not exist: %s without landmarks", path, split)
            return annotations
        return with_landmarks(annotations, read_landmark_annotations(path))

    def _checked_root(self) -> str | Path:
        """The root, or the remedy."""
        if self.root is None:
            raise InputError(
                "data.root is not set: give the folder that holds WIDER_train, WIDER_val and "
                "wider_face_split, as data.root=/path/to/WIDER"
            )
        return self.root


def _read_split(layout: WiderLayout, split: Split) -> list[Annotation]:
    """Annotation of a split whose pictures all exist."""
    annotations = read_annotations(layout.annotation_file(split))
    folder = layout.images(split)
    existing = {
        f"{relative}/{file}" if (relative := os.path.relpath(parent, folder)) != "." else file
        for parent, _, files in os.walk(folder)
        for file in files
    }
    missing = [item.name for item in annotations if item.name not in existing]
    if missing:
        raise InputError(
            f"{len(missing):,} of {len(annotations):,} pictures listed in "
            f"{layout.annotation_file(split)} are missing under {folder}, the first is "
            f"{missing[0]}: unpack WIDER_{split}.zip there, or shorten the list"
        )
    return annotations
