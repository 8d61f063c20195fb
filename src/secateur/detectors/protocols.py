"""Test protocols: at which sizes a detector looks at a picture, and how the passes are merged.

A protocol turns the size of a picture into views; `detect_pictures` renders them, runs the
detector on views of one shape together, and brings the boxes back to pixels of the picture.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.data.landmarks import COUNT, MIRRORED_ORDER
from secateur.data.preprocessing import RGB_MINUS_MEAN

Detect = Callable[[Tensor], list[Tensor]]

"""Takes images ``(B, 3, H, W)``; gives ``(K, 5)`` x1, y1, x2, y2 in 0..1 and score for each."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class View:
    """One look at a picture.

    Attributes:
        factor: What the sides of the picture are multiplied by.
        mirrored: Whether left and right are swapped.
        larger_than: Boxes are kept whose longer side, in pixels of the picture, exceeds this.
        smaller_than: Boxes are kept whose shorter side is below this.
    """

    factor: float
    mirrored: bool = False
    larger_than: float = 0.0
    smaller_than: float = math.inf


class EvaluationProtocol(Protocol):
    """What `detect_pictures` asks of a protocol."""

    def views(self, height: int, width: int) -> tuple[View, ...]:
        """The looks at a picture of that size."""

    def merge(self, detections: Sequence[Tensor]) -> Tensor:
        """Merge what each view found, ``(K, 5)`` in pixels each, into one ``(K, 5)``."""


@dataclass(frozen=True, slots=True)
class SingleScale:
    """The original size, made smaller where the picture is larger than the detectors were tested.

    Attributes:
        max_pixels: Largest height x width.
        min_score: Detections below it are dropped.
        max_side: Largest height or width, in pixels.
    """

    max_pixels: float = 1700 * 1200
    min_score: float = 0.05
    max_side: float = math.inf

    def views(self, height: int, width: int) -> tuple[View, ...]:
        """One view, no larger than the picture."""
        by_area = math.sqrt(self.max_pixels / (height * width))
        return (View(min(1.0, by_area, self.max_side / max(height, width))),)

    def merge(self, detections: Sequence[Tensor]) -> Tensor:
        """Drop what scores too low."""
        (found,) = detections
        return found[found[:, 4] >= self.min_score]


@dataclass(frozen=True, slots=True)
class LongerSide:
    """All pictures resized to one longer side: 640 is known as VGA.

    Attributes:
        pixels: The longer side.
        min_score: Detections below it are dropped.
    """

    pixels: int = 640
    min_score: float = 0.05

    def views(self, height: int, width: int) -> tuple[View, ...]:
        """One view whose longer side is as asked."""
        return (View(self.pixels / max(height, width)),)

    def merge(self, detections: Sequence[Tensor]) -> Tensor:
        """Drop what scores too low."""
        (found,) = detections
        return found[found[:, 4] >= self.min_score]


@dataclass(frozen=True, slots=True)
class MultiScale:
    """Original size, its mirror image, a smaller and larger ones, merged by box voting.

    This is the protocol behind the published results of S3FD, EXTD, EResFD and the pruning papers.

    Attributes:
        max_pixels: Largest height x width of any view.
        smaller: Factor of the smaller view, or of the largest possible one when that is below
            ``smaller_from``.
        smaller_from: See above.
        larger: Factor of the first larger view; doubled until the largest possible one.
        larger_than: In views made smaller only boxes longer than this count.
        smaller_than: In views made larger only boxes shorter than this count.
        min_score: Detections below it are dropped.
        iou_threshold: Overlap from which box voting merges.
        max_faces: Boxes to return at most.
        keep_singles: Whether box voting keeps what only one view found.
    """

    max_pixels: float = 1700 * 1200
    smaller: float = 0.5
    smaller_from: float = 0.75
    larger: float = 2.0
    larger_than: float = 30.0
    smaller_than: float = 100.0
    min_score: float = 0.05
    iou_threshold: float = 0.3
    max_faces: int = 750
    keep_singles: bool = False

    def views(self, height: int, width: int) -> tuple[View, ...]:
        """The views in the order of the published protocol."""
        limit = math.sqrt(self.max_pixels / (height * width))
        base = min(1.0, limit)
        small = self.smaller if limit >= self.smaller_from else self.smaller * limit
        first = (
            View(base),
            View(base, mirrored=True),
            View(small, larger_than=self.larger_than),
        )
        if limit <= 1:
            return (*first, View((small + limit) / 2, larger_than=self.larger_than))
        factors = [min(self.larger, limit)]
        while factors[-1] * 2 < limit:
            factors.append(factors[-1] * 2)
        if factors[-1] < limit:
            factors.append(limit)
        return (*first, *(View(factor, smaller_than=self.smaller_than) for factor in factors))

    def merge(self, detections: Sequence[Tensor]) -> Tensor:
        """Vote."""
        found = torch.cat([rows[:, :5] for rows in detections])  # landmarks are not voted on
        found = found[found[:, 4] >= self.min_score]
        return vote_boxes(found, self.iou_threshold, self.max_faces, self.keep_singles)


def detect_pictures(
    detect: Detect,
    pictures: Sequence[Pixels],
    protocol: EvaluationProtocol,
    preprocessing: Callable[[Pixels], Tensor] = RGB_MINUS_MEAN,
    *,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
) -> list[Tensor]:
    """Find the faces of pictures of any size.

    Args:
        detect: The detector.
        pictures: ``(H, W, 3)`` RGB each.
        protocol: How to look at them.
        preprocessing: Of the detector: makes an input of ``(H, W, 3)`` RGB.
        batch_size: Views of one shape that are shown to the detector together.
        device: Where the detector runs.

    Returns:
        For each picture ``(K, 5)`` x1, y1, x2, y2, score in pixels, on the CPU; protocols of one
        view keep the landmarks of detectors that tell them, ``(K, 15)``.
    """
    views = [protocol.views(*picture.shape[:2]) for picture in pictures]
    groups: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for i, (picture, looks) in enumerate(zip(pictures, views, strict=True)):
        for j, view in enumerate(looks):
            groups[_view_size(picture, view)].append((i, j))
    found = [[torch.empty(0, 5)] * len(looks) for looks in views]
    for size, members in groups.items():
        for start in range(0, len(members), batch_size):
            batch = members[start : start + batch_size]
            images = [preprocessing(_render(pictures[i], views[i][j])) for i, j in batch]
            # the usual batch of one picture is not copied
            shown = images[0][None] if len(images) == 1 else torch.stack(images)
            faces = detect(shown.to(device))
            for (i, j), rows in zip(batch, faces, strict=True):
                found[i][j] = _to_picture(
                    rows.detach().cpu(), views[i][j], size, pictures[i].shape[1]
                )
    return [protocol.merge(detections) for detections in found]


def _view_size(picture: Pixels, view: View) -> tuple[int, int]:
    """Height and width of a view, at least one pixel."""
    height, width = (max(1, round(side * view.factor)) for side in picture.shape[:2])
    return height, width


def _render(picture: Pixels, view: View) -> Pixels:
    """Make the image that a view shows."""
    if view.mirrored:
        picture = picture[:, ::-1].copy()  # numpy takes a column seen backwards for contiguous
    if view.factor == 1:
        return picture
    height, width = _view_size(picture, view)
    if min(picture.shape[:2]) * view.factor > 0.5:
        # sampled at exactly this factor, not at the ratio of the rounded sizes
        resized = cv2.resize(
            picture,
            None,
            fx=view.factor,
            fy=view.factor,
            interpolation=cv2.INTER_LINEAR,
        )
    else:
        resized = cv2.resize(picture, (width, height))
    return np.asarray(resized, dtype=np.uint8)


def _to_picture(rows: Tensor, view: View, size: tuple[int, int], width: int) -> Tensor:
    """Bring faces from 0..1 of a view to pixels of the picture, and drop those it is not for."""
    # a few small steps, for which numpy has a fraction of the overhead of torch
    faces = rows.numpy().copy()
    for columns in (slice(0, 4), slice(5, None)):  # corners, and landmarks if there are any
        faces[:, columns][:, 0::2] *= size[1] / view.factor
        faces[:, columns][:, 1::2] *= size[0] / view.factor
    if view.mirrored:
        faces[:, [0, 2]] = width - faces[:, [2, 0]]
        if faces.shape[1] > 5:
            points = faces[:, 5:].reshape(-1, COUNT, 2)[:, list(MIRRORED_ORDER)]
            faces[:, 5:] = np.stack([width - points[..., 0], points[..., 1]], axis=2).reshape(
                len(points), -1
            )
    sides = faces[:, 2:4] - faces[:, :2] + 1
    longer, shorter = sides.max(axis=1), sides.min(axis=1)
    return torch.from_numpy(faces[(longer > view.larger_than) & (shorter < view.smaller_than)])


def vote_boxes(
    detections: Tensor,
    iou_threshold: float = 0.3,
    max_faces: int = 750,
    keep_singles: bool = True,
) -> Tensor:
    """Merge detections by the rule of the S3FD evaluation.

    The best detection gathers all that overlap it, itself included, and their average, weighted
    by score, replaces them; then the best of the rest does so. Overlaps count border pixels twice
    (the +1 convention).

    Args:
        detections: ``(N, 5)`` x1, y1, x2, y2, score in pixels, in any order.
        iou_threshold: Detections with at least this IoU belong together.
        max_faces: Boxes to return at most, the best first.
        keep_singles: Whether a detection that nothing overlaps is kept. EResFD's own evaluation
            keeps it, those of EXTD and of the pruning papers drop it.

    Returns:
        ``(K, 5)`` merged boxes, each with the highest score of its members, scores descending.
    """
    # one small step per face, for which numpy has a fraction of the overhead of torch
    rows = detections.detach().cpu().double().numpy()
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    area = (rows[:, 2] - rows[:, 0] + 1) * (rows[:, 3] - rows[:, 1] + 1)
    merged: list[np.ndarray] = []
    while len(rows) and len(merged) < max_faces:
        corner = np.maximum(rows[0, :2], rows[:, :2])
        size = np.maximum(np.minimum(rows[0, 2:4], rows[:, 2:4]) - corner + 1, 0)
        shared = size[:, 0] * size[:, 1]
        member = shared >= iou_threshold * (area[0] + area - shared)
        member[0] = True
        if keep_singles or np.count_nonzero(member) > 1:
            members = rows[member]
            box = members[:, 4] @ members[:, :4] / members[:, 4].sum()
            merged.append(np.append(box, rows[0, 4]))
        rows, area = rows[~member], area[~member]
    result = np.stack(merged) if merged else np.empty((0, 5))
    return torch.from_numpy(result).to(detections)
