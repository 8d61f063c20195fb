"""FaceDetector: from pictures to faces, whatever the network and whatever runs it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.deploy.executorch import largest_side
from secateur.deploy.pictures import Picture, Pixels, as_list, to_pixels
from secateur.detectors.protocols import (
    EvaluationProtocol,
    LongerSide,
    MultiScale,
    SingleScale,
    detect_pictures,
)
from secateur.errors import InputError

PROTOCOLS = ("single", "vga", "multiscale")

_MARGIN = 1e-3  # of a score, which rounding does not reach

Floats = NDArray[np.float32]
Find = Callable[..., list[Tensor]]
"""Takes a batch of inputs and ``min_score``, below which faces may be left out; gives (K, 5) or
(K, 15) for each: x1, y1, x2, y2 in fractions of the input, score and landmarks."""


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Faces of one picture, the surest first.

    Attributes:
        boxes: (K, 4) x1, y1, x2, y2 in pixels of the picture, not clipped to it.
        scores: (K,) in 0..1.
        landmarks: (K, 5, 2) x and y in pixels of the eyes, the nose and the corners of the mouth;
            None where the network does not tell them.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats | None = None

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.scores)

    def __iter__(self) -> Iterator[tuple[Floats, float]]:
        """Box (4,) and score of every face."""
        return iter((box, float(score)) for box, score in zip(self.boxes, self.scores, strict=True))

    def above(self, score: float) -> Faces:
        """The faces of at least that score."""
        kept = self.scores >= score
        landmarks = None if self.landmarks is None else self.landmarks[kept]
        return Faces(self.boxes[kept], self.scores[kept], landmarks)

    def rows(self) -> Floats:
        """(K, 5) x1, y1, x2, y2, score."""
        return np.concatenate([self.boxes, self.scores[:, None]], axis=1)


class FaceDetector:
    """Finds faces; what ``secateur.load`` gives for a detector.

    Args:
        find: Finds faces in a batch of inputs.
        preprocessing: Makes one input of (H, W, 3) RGB.
        name: Short name of the network.
        backend: What runs the network, such as ``onnx``.
        device: Where the inputs have to lie.
        keeps_singles: Whether multiscale keeps what only one view found.

    Examples:
        >>> from secateur import load                              # doctest: +SKIP
        >>> detector = load("outputs/eresfd-fpgm-0.3/latest")      # doctest: +SKIP
        >>> faces = detector("photo.jpg")                          # doctest: +SKIP
    """

    def __init__(
        self,
        find: Find,
        preprocessing: Callable[[Pixels], Tensor],
        *,
        name: str = "detector",
        backend: str = "torch",
        device: torch.device | str = "cpu",
        keeps_singles: bool = False,
    ) -> None:
        self._find, self._preprocessing = find, preprocessing
        self.name, self.backend, self.device = name, backend, torch.device(device)
        self.keeps_singles = keeps_singles

    def __call__(
        self,
        pictures: Picture | Sequence[Picture],
        *,
        min_score: float = 0.5,
        protocol: str = "single",
    ) -> Any:  # noqa: ANN401  (one or a list, as the pictures are)
        """Find faces.

        Args:
            pictures: One picture or several: paths, Pillow images, arrays (H, W, 3) RGB of uint8,
                or tensors (3, H, W) RGB of uint8 or of floats in 0..1.
            min_score: Faces of a lower score are left out.
            protocol: ``single`` looks once at the original size, of pictures above 2.04 megapixels
                (for ExecuTorch sides above 1280 pixels) at that; ``vga`` once at a longer side of
                640 pixels, ``multiscale`` several times as the published tests do.

        Returns:
            ``Faces`` in pixels of the picture; a list of them for a list of pictures.

        Raises:
            InputError: If a picture cannot be read, or there is no such protocol.
        """
        listed, single = as_list(pictures)
        looks = self.protocol(protocol)
        found = [self.detect(to_pixels(picture), looks, min_score) for picture in listed]
        return found[0] if single else found

    def protocol(self, name: str) -> EvaluationProtocol:
        """The protocol of that name; ExecuTorch is shown no larger sides than it takes."""
        if name == "single":
            return SingleScale(max_side=largest_side(self.backend))
        if name == "vga":
            return LongerSide()
        if name == "multiscale":
            return MultiScale(keep_singles=self.keeps_singles)
        raise InputError(f"protocol={name} does not exist; choose from {', '.join(PROTOCOLS)}")

    @torch.inference_mode()
    def detect(self, pixels: Pixels, protocol: EvaluationProtocol, min_score: float = 0.0) -> Faces:
        """Faces of one picture.

        Args:
            pixels: (H, W, 3) RGB.
            protocol: How to look at it.
            min_score: Faces of a lower score are left out, beside those below the thresholds.
        """
        find: Callable[[Tensor], list[Tensor]] = self._find
        if isinstance(protocol, SingleScale | LongerSide):
            # a face is suppressed by better ones alone; box voting would count the others
            find = functools.partial(self._find, min_score=min_score - _MARGIN)
        (rows,) = detect_pictures(find, [pixels], protocol, self._preprocessing, device=self.device)
        values = rows.float().numpy()
        landmarks = values[:, 5:].reshape(-1, 5, 2) if values.shape[1] == 15 else None
        return Faces(values[:, :4], values[:, 4], landmarks).above(min_score)
