"""Detection: what is asked of every detector, with anchors or without, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from secateur.data.preprocessing import Preprocessing
from secateur.detectors.postprocess import select_faces, select_faces_padded


class Detector(Protocol):
    """What training, search, evaluation, detection and export ask of a network beside its forward.

    Faces are rows: corners (4,), or corners and five landmarks with weights (19,), see
    ``data.landmarks``, in fractions of the network's input. ``size`` is the height and width of
    that input in pixels.

    Attributes:
        preprocessing: How pictures become inputs.
        output_names: Names of the outputs of ``forward``: what is exported.
    """

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures become inputs."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in their order."""

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Raw outputs, (B, N, ...) each, of inputs (B, 3, H, W)."""

    def losses(
        self, outputs: Sequence[Tensor], size: tuple[int, int], faces: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Terms of the training loss, weighted, by name; some detectors take settings too."""

    def scores(self, outputs: Sequence[Tensor]) -> Tensor:
        """Scores (B, N) in 0..1 of all candidates."""

    def decode(self, outputs: Sequence[Tensor], chosen: Tensor, size: tuple[int, int]) -> Tensor:
        """Corners (B, K, 4), or corners and landmarks (B, K, 14), of the chosen (B, K) ones."""


def is_detector(network: object) -> bool:
    """Whether a network finds faces: it can decode its outputs, which no recognizer can."""
    return callable(getattr(network, "decode", None))


@runtime_checkable
class Distillable(Detector, Protocol):
    """A detector whose outputs can be compared with those of a teacher, candidate by candidate.

    Detectors that keep to ``Detector`` alone learn from the boxes that a teacher finds.
    """

    def candidates(self, size: tuple[int, int]) -> Tensor:
        """What the N candidates of an input stand for, (N, ...), such as its anchors.

        Two detectors with equal candidates mean the same by their outputs.
        """

    def margins(self, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits (B, N) of the probabilities that make up a score, by name."""

    def deviations(self, outputs: Sequence[Tensor], wanted: Sequence[Tensor]) -> dict[str, Tensor]:
        """How far what outputs say of each face is from what others say, (B, N) by name.

        Smooth L1, in units of a tenth of the face for places and a fifth for logarithms of sizes.
        """

    def losses(
        self,
        outputs: Sequence[Tensor],
        size: tuple[int, int],
        faces: Sequence[Tensor],
        *,
        exact: Tensor | None = None,
        picture_share: float = 0.0,
    ) -> dict[str, Tensor]:
        """Terms of the training loss, as of ``Detector``.

        Args:
            outputs: Raw outputs.
            size: Height and width of the input.
            faces: Per image (G, 4) or (G, 19) in fractions of the input.
            exact: (B,) whether the boxes of an image say where faces end, or only where they are.
            picture_share: How much of a term is a mean over pictures, in [0, 1].
        """


def batch_losses(
    network: Detector,
    images: Tensor,
    faces: Sequence[Tensor],
    **settings: Any,  # noqa: ANN401
) -> dict[str, Tensor]:
    """Loss of a batch.

    Args:
        network: The detector.
        images: (B, 3, H, W) as its preprocessing makes them.
        faces: Per image (G, 4) or (G, 19) in fractions of the image.
        **settings: Of the loss of this detector, such as ``negatives_per_positive``.

    Returns:
        Terms by name; the loss is their sum.
    """
    outputs, size = run(network, images)
    grown = _growth(images, size)
    if grown != (1.0, 1.0):
        faces = [_scaled(rows, 1 / grown[0], 1 / grown[1], step=3) for rows in faces]
    return network.losses(outputs, size, faces, **settings)


def detect(network: Detector, images: Tensor, **limits: Any) -> list[Tensor]:  # noqa: ANN401
    """Faces of a batch.

    Args:
        network: The detector.
        images: (B, 3, H, W) as its preprocessing makes them.
        **limits: Thresholds, as of ``select_faces``.

    Returns:
        Per image (K, 5), or (K, 15) with landmarks: corners in fractions of the image, not clipped
        to it, the score, and x and y of five landmarks; in falling order of the score.
    """
    outputs, size = run(network, images)
    rows = select_faces(
        network.scores(outputs), lambda chosen: network.decode(outputs, chosen, size), **limits
    )
    width_growth, height_growth = _growth(images, size)
    if (width_growth, height_growth) == (1.0, 1.0):
        return rows
    return [_scaled(faces, width_growth, height_growth, step=2) for faces in rows]


def detect_padded(
    network: Detector,
    images: Tensor,
    **limits: Any,  # noqa: ANN401
) -> tuple[Tensor, Tensor]:
    """``detect`` with outputs of fixed size, for ``torch.export`` and tracing.

    Args:
        network: The detector.
        images: (B, 3, H, W) of sides that its preprocessing does not pad.
        **limits: Thresholds, as of ``select_faces_padded``.

    Returns:
        Rows (B, max_faces, 5 or 15) and their numbers (B,).
    """
    outputs = network(images)
    height, width = images.shape[-2:]
    return select_faces_padded(
        network.scores(outputs),
        lambda chosen: network.decode(outputs, chosen, (height, width)),
        **limits,
    )


def run(network: Detector, images: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
    """Outputs in float32 for images of any size, and the size after padding."""
    padded = network.preprocessing.pad(images)
    outputs = [output.float() for output in network(padded)]
    return outputs, (padded.shape[-2], padded.shape[-1])


def _growth(images: Tensor, size: tuple[int, int]) -> tuple[float, float]:
    """How much padding has widened and heightened the images."""
    return size[1] / images.shape[-1], size[0] / images.shape[-2]


def _scaled(rows: Tensor, x: float, y: float, step: int) -> Tensor:
    """Rows with corners in front and landmarks, one every ``step`` columns, at the end, scaled."""
    factors = rows.new_ones(rows.shape[1])
    factors[0:4:2], factors[1:4:2] = x, y
    first = 4 if step == 3 else 5  # faces of training have no score
    factors[first::step], factors[first + 1 :: step] = x, y
    return rows * factors


def sum_losses(terms: dict[str, Tensor]) -> Tensor:
    """The loss: the sum of its terms."""
    return torch.stack(list(terms.values())).sum()
