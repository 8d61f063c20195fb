"""The training augmentation of the published detectors, reproducible picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import albumentations
import numpy as np
from numpy.typing import NDArray

from secateur.data.augmentations.photometric import PhotometricDistortion
from secateur.data.augmentations.scale_sampling import ScaleSampling
from secateur.data.augmentations.window import MIN_AREA
from secateur.data.augmentations.window_transforms import (
    ANCHOR_SIZES,
    NO_WINDOW,
    DataAnchorSampling,
    FaceFlip,
    FitSquare,
    RandomSquareCrop,
)
from secateur.data.landmarks import COLUMNS
from secateur.data.preprocessing import MEAN
from secateur.errors import InputError

Augmentation = Callable[
    [NDArray[np.uint8], NDArray[np.floating], int], tuple[NDArray[np.uint8], NDArray[np.float32]]
]
"""Takes a picture, its faces and a seed; gives the picture and the faces that are trained on."""


class FaceAugmentation:
    """A crop around faces, photometric distortion, resizing and a flip.

    The published code distorts the whole picture before it crops; here only what the crop sees is
    distorted, which differs in one point: contrast turns around the mean grey of the crop.

    The result depends on picture, boxes and seed alone. (albumentations 2.0.8 draws from a
    generator that every worker process inherits as a copy, so that all workers and all epochs
    would see the same augmentations: AlbumentationsX issue 266. Hence the seed for each call.)

    Args:
        input_size: Side of the result in pixels.
        anchor_sizes: Rising sides of the detector's anchors.
        anchor_probability: Share of data-anchor sampling; the rest are random square crops.
        flip_probability: Share of mirrored pictures.
        distortion_probability: Probability of each of brightness, contrast, saturation and hue.
        brightness: Largest deviation of the factor from 1.
        contrast: Largest deviation of the factor from 1.
        saturation: Largest deviation of the factor from 1.
        hue: Largest shift, in 1/256 of the colour circle.
        min_area: Boxes that cover no more pixels of the result are dropped.
        views: In place of both crops, weights of windows of every scale: ``whole``, ``zoom``,
            ``native`` and ``scale``, see `ScaleSampling`.

    Raises:
        InputError: If a number is out of its range.
    """

    def __init__(
        self,
        input_size: int = 640,
        anchor_sizes: Sequence[int] = ANCHOR_SIZES,
        anchor_probability: float = 0.5,
        flip_probability: float = 0.5,
        distortion_probability: float = 0.5,
        brightness: float = 0.125,
        contrast: float = 0.5,
        saturation: float = 0.5,
        hue: float = 18.0,
        min_area: float = MIN_AREA,
        views: Mapping[str, float] | None = None,
    ) -> None:
        if input_size < 1:
            raise InputError(f"input_size must be at least 1, got {input_size}")
        if not anchor_sizes or min(anchor_sizes) <= 0 or list(anchor_sizes) != sorted(anchor_sizes):
            raise InputError(f"anchor_sizes must be positive and rising, got {list(anchor_sizes)}")
        for name, value in (
            ("anchor_probability", anchor_probability),
            ("flip_probability", flip_probability),
            ("distortion_probability", distortion_probability),
            ("brightness", brightness),
            ("contrast", contrast),
            ("saturation", saturation),
        ):
            if not 0 <= value <= 1:
                raise InputError(f"augmentation.{name} must be between 0 and 1, got {value}")
        self.input_size = input_size
        self._transform = albumentations.Compose(
            [
                albumentations.OneOf(
                    [
                        DataAnchorSampling(
                            input_size, anchor_sizes, min_area, p=anchor_probability
                        ),
                        RandomSquareCrop(input_size, min_area, p=1 - anchor_probability),
                    ],
                    p=1.0,
                )
                if views is None
                else ScaleSampling(input_size, views, min_area),
                PhotometricDistortion(
                    brightness, contrast, saturation, hue, distortion_probability
                ),
                FitSquare(input_size, MEAN),
                FaceFlip(p=flip_probability),
            ],
            bbox_params=albumentations.BboxParams(
                "albumentations",
                label_fields=[],
                clip=True,
                filter_invalid_bboxes=True,
                check_each_transform=False,  # the transforms here keep boxes valid themselves
            ),
        )

    def __call__(
        self, image: NDArray[np.uint8], boxes: NDArray[np.floating], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Augment one picture.

        Args:
            image: (H, W, 3) RGB.
            boxes: (G, 4) corners in 0..1; parts beyond the picture are cut off. Or (G, 19) with
                landmarks, see ``landmarks``.
            seed: Any whole number from 0; the same one gives the same result.

        Returns:
            (S, S, 3) RGB, and (K, 4) corners in 0..1 with positive width and height, or (K, 19).
        """
        rows = np.asarray(boxes, np.float32)
        columns = COLUMNS if rows.shape[-1] == COLUMNS else 4
        self._transform.set_random_seed(seed)
        result = self._transform(image=image, bboxes=rows.reshape(-1, columns), window=NO_WINDOW)
        kept = np.asarray(result["bboxes"], dtype=np.float32).reshape(-1, columns)
        # A flip computes 1 - x in float32, and may leave a corner one rounding outside of 0..1.
        kept = kept.clip(0.0, 1.0)
        return result["image"], kept[(kept[:, 2:4] > kept[:, :2]).all(axis=1)]
