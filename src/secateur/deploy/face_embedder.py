"""FaceEmbedder: from pictures of faces to embeddings, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.data.face_alignment import align_face
from secateur.data.face_crop import SquareCut, crop_center, crop_face, to_input
from secateur.deploy.description import FaceCut
from secateur.deploy.face_detector import FaceDetector
from secateur.deploy.pictures import Picture, Pixels, as_list, to_pixels
from secateur.errors import InputError

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Match:
    """One answer of a search.

    Attributes:
        index: Of the embedding that was found.
        score: Cosine similarity, -1..1.
    """

    index: int
    score: float


class FaceEmbedder:
    """Embeds faces; what ``secateur.load`` gives for a recognizer.

    Args:
        embed: Takes inputs (B, 3, S, S), gives embeddings (B, D).
        cut: How the network wants a face cut out.
        name: Short name of the network.
        backend: What runs the network, such as ``onnx``.
        device: Where the inputs have to lie.

    Examples:
        >>> from secateur import load                              # doctest: +SKIP
        >>> embedder = load("outputs/squeezenet/latest")           # doctest: +SKIP
        >>> embeddings = embedder(["ann.jpg", "bob.jpg"])          # doctest: +SKIP
    """

    def __init__(
        self,
        embed: Callable[[Tensor], Tensor],
        cut: FaceCut,
        *,
        name: str = "recognizer",
        backend: str = "torch",
        device: torch.device | str = "cpu",
    ) -> None:
        self._embed, self.cut = embed, cut
        self.name, self.backend, self.device = name, backend, torch.device(device)
        self._square = SquareCut(cut.side, cut.shorter_side)

    def __call__(
        self,
        pictures: Picture | Sequence[Picture],
        *,
        detector: FaceDetector | None = None,
        align: bool = False,
        batch_size: int = 32,
    ) -> Floats:
        """Embed the face of every picture.

        Args:
            pictures: One picture or several, as of ``FaceDetector``.
            detector: Finds the face, the largest of each picture; without it a picture is taken to
                show one face in the middle, as the network was trained with.
            align: Whether a face is turned and scaled by its five landmarks, which the detector
                must tell, in place of cutting its box out.
            batch_size: Pictures that are shown to the network together.

        Returns:
            (N, D) of length 1, one row for each picture; for one picture N is 1.

        Raises:
            InputError: If a picture cannot be read, the detector finds no face on it, or tells no
                landmarks to align it by.
        """
        listed, _ = as_list(pictures)
        rows = []
        for start in range(0, len(listed), batch_size):
            batch = [
                self._input(to_pixels(picture), detector, align, picture)
                for picture in listed[start : start + batch_size]
            ]
            rows.append(self._embedded(torch.stack(batch)))
        return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)

    def search(self, query: Floats, gallery: Floats, count: int = 5) -> list[Match]:
        """The faces most like one.

        Args:
            query: (D,) or (1, D) embedding.
            gallery: (N, D) embeddings.
            count: How many to return at most.
        """
        scores = gallery @ query.reshape(-1)
        best = np.argsort(-scores, kind="stable")[:count]
        return [Match(int(index), float(scores[index])) for index in best]

    def threshold(self, far: str) -> float:
        """Cosine similarity from which two faces count as one person.

        Args:
            far: False accept rate, such as ``1e-3``; measured on the verification pairs of the run.

        Raises:
            InputError: If the pairs of the run were too few for that, or there was no run.
        """
        found = self.cut.thresholds.get(far)
        if found is None:
            known = ", ".join(self.cut.thresholds) or "none: it comes from no run"
            raise InputError(
                f"{self.name} has no threshold for far={far}: its pairs support {known}"
            )
        return found

    def _input(
        self, pixels: Pixels, detector: FaceDetector | None, align: bool, source: Picture
    ) -> Tensor:
        """The face of one picture as an input (3, S, S)."""
        if align and detector is None:
            raise InputError(
                "align=true needs a detector of landmarks: give a YuNet as detector=FILE"
            )
        if detector is None:
            return self._square.middle(crop_center(pixels, self.cut.center))
        faces = detector(pixels)
        if not len(faces):
            name = source if isinstance(source, str) else getattr(source, "name", "the picture")
            raise InputError(f"{detector.name} finds no face on {name}: give a picture with one")
        largest = largest_face(faces.boxes)
        if align:
            if faces.landmarks is None:
                raise InputError(
                    f"{detector.name} tells no landmarks to align faces by: give a YuNet as "
                    "detector=FILE, or set align=false"
                )
            return to_input(align_face(pixels, faces.landmarks[largest], self.cut.side))
        x1, y1, x2, y2 = faces.boxes[largest].tolist()
        return self._square.middle(crop_face(pixels, (x1, y1, x2 - x1, y2 - y1)))

    @torch.inference_mode()
    def _embedded(self, images: Tensor) -> Floats:
        """Embeddings of length 1 of inputs (B, 3, S, S)."""
        images = images.to(self.device)
        embeddings = self._embed(images)
        if self.cut.flip:
            embeddings = embeddings + self._embed(images.flip(3))
        normalized = torch.nn.functional.normalize(embeddings.float(), dim=1)
        result: Floats = normalized.cpu().numpy()
        return result


def largest_face(boxes: Floats) -> int:
    """Index of the box of the largest area among (K, 4) x1, y1, x2, y2."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return int(sides.prod(axis=1).argmax())
