"""Exported files as networks: the same protocols and metrics for a file as for its ancestor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.data.preprocessing import Preprocessing
from secateur.deploy.checksum import is_intact
from secateur.deploy.description import KEY, Description, parse, read_beside
from secateur.deploy.executorch import open_executorch
from secateur.deploy.sessions import Array, open_session
from secateur.deploy.torchscript import open_torchscript
from secateur.described_network import build_described
from secateur.detectors.detection import Detector, is_detector
from secateur.errors import InputError
from secateur.weights.architectures import BUILDERS

SUFFIXES = {".onnx": "onnx", ".pte": "executorch", ".torchscript": "torchscript", ".ptl": "lite"}
"""Endings of exported files and what wrote them."""

Run = Callable[[Array], Sequence[Array]]


class ExportedNetwork:
    """An exported file that answers like the network that it was made from.

    Args:
        path: The file.
        description: What it is.
        run: Outputs for an input.
    """

    def __init__(self, path: Path, description: Description, run: Run) -> None:
        self.path, self.description, self.run = path, description, run

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Outputs for inputs (B, 3, H, W), on the device of the inputs."""
        found = self.run(images.cpu().numpy())
        return tuple(torch.from_numpy(array).to(images.device) for array in found)


class ExportedDetector(ExportedNetwork):
    """An exported detector that gives raw outputs; keeps to ``detectors.detection.Detector``.

    Args:
        path: The file.
        description: What it is.
        run: Raw outputs for an input.

    Raises:
        InputError: If the file names a detector that this program does not know.
    """

    def __init__(self, path: Path, description: Description, run: Run) -> None:
        super().__init__(path, description, run)
        architecture = description.architecture
        builder = BUILDERS.get(str(architecture.get("name")))
        try:
            # only asked how outputs become boxes: its own weights are never used
            decoder = build_described(builder, architecture["arguments"]) if builder else None
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} does not fit its architecture: {error}") from error
        if not is_detector(decoder):
            raise InputError(
                f"{path} names the detector {architecture.get('name')!r}, which this program does "
                "not know: use the program that wrote it"
            )
        self._decoder = cast("Detector", decoder)
        pixels = description.pixels
        self.preprocessing = Preprocessing(
            order=pixels.order,
            mean=pixels.mean,
            scale=1 / pixels.scale[0],
            multiple=pixels.multiple,
        )
        self.output_names = description.outputs

    def scores(self, outputs: Sequence[Tensor]) -> Tensor:
        """Scores (B, N) in 0..1 of all candidates."""
        return self._decoder.scores(outputs)

    def decode(self, outputs: Sequence[Tensor], chosen: Tensor, size: tuple[int, int]) -> Tensor:
        """Corners, and landmarks where there are any, of the chosen (B, K) candidates."""
        return self._decoder.decode(outputs, chosen, size)

    def losses(
        self, outputs: Sequence[Tensor], size: tuple[int, int], faces: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Nothing: an exported file is not trained."""
        raise InputError(f"{self.path} is an exported file, which cannot be trained")


class ExportedFaces(ExportedNetwork):
    """An exported file that takes the bytes of pictures and gives faces."""

    @staticmethod
    def preprocessing(rgb: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) as it is: the file preprocesses by itself."""
        return torch.from_numpy(np.require(rgb, requirements=["C", "W"]))

    def detect(self, pixels: Tensor, min_score: float = 0.0) -> list[Tensor]:
        """Faces of pictures.

        Args:
            pixels: (B, H, W, 3) RGB of uint8.
            min_score: Of no use here: the thresholds are inside the file.

        Returns:
            Per picture (K, 5): x1, y1, x2, y2 in fractions of the picture, and the score; or
            (K, 15) with x and y of five landmarks after it.
        """
        faces, pictures = self(pixels)
        height, width = pixels.shape[1:3]
        pairs = (faces.shape[1] - 5) // 2
        faces = faces / faces.new_tensor([width, height] * 2 + [1.0] + [width, height] * pairs)
        return [faces[pictures == index] for index in range(len(pixels))]


class ExportedRecognizer(nn.Module):
    """An exported recognizer as a module, which tasks and metrics ask for.

    Args:
        network: The file.
    """

    def __init__(self, network: ExportedNetwork) -> None:
        super().__init__()
        self.exported = network

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, D) of normalized inputs (B, 3, S, S)."""
        pixels = self.exported.description.pixels
        if pixels.type == "uint8":  # the file normalizes by itself
            mean, scale = (images.new_tensor(v)[:, None, None] for v in (pixels.mean, pixels.scale))
            images = (images * scale + mean).round().clamp(0, 255).to(torch.uint8)
            images = images.permute(0, 2, 3, 1).contiguous()
        return self.exported(images)[0]


def is_exported(path: Path) -> bool:
    """Whether the name of a file is that of an exported network."""
    return path.is_file() and path.suffix in SUFFIXES


def open_exported(path: Path, threads: int = 1) -> ExportedNetwork:
    """Open an exported file.

    Args:
        path: A file that export.py wrote; the JSON beside it is held against it.
        threads: Threads of one operator, where the runtime lets one choose.

    Returns:
        An ``ExportedDetector`` for raw outputs of a detector, ``ExportedFaces`` for faces, and an
        ``ExportedNetwork`` for a recognizer.

    Raises:
        InputError: If the file is missing, damaged, somebody else's or does not fit its JSON.
    """
    if path.suffix not in SUFFIXES:
        endings = ", ".join(SUFFIXES)
        raise InputError(f"{path} is no exported network; those end in {endings}")
    if not path.is_file():
        raise InputError(f"{path} is no file; give the path of a file that export.py wrote")
    if path.suffix in (".onnx", ".pte") and not is_intact(path):  # archives have their own
        raise InputError(
            f"{path} was damaged, or changed by another program, since export.py wrote it (its "
            "checksum differs): copy it again, export it again, or accept a change of your own by "
            f"python -m secateur.deploy.checksum {path}"
        )
    text: str | None = None
    if path.suffix == ".onnx":
        session = open_session(path, threads)
        text, run = session.metadata.get(KEY), cast("Run", session.run)
        if text is None:
            raise InputError(
                f"{path} was not written by export.py: it says nothing about the preprocessing and "
                "the outputs of the network; export the network again with export.py"
            )
    elif path.suffix == ".pte":
        text, run = open_executorch(path, threads)
    else:
        text, run = open_torchscript(path)
    inside = None if text is None else parse(text, str(path))
    description = read_beside(path, inside)
    if description.suppression is None:
        return ExportedNetwork(path, description, run)
    kind = ExportedFaces if description.suppression.inside else ExportedDetector
    return kind(path, description, run)
