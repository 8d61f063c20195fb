"""Parity: does an exported file compute what PyTorch computes?

The file is run in a fresh process, on real pictures at two sizes of which one is odd.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.deploy import runner
from secateur.deploy.description import Description, Suppression
from secateur.deploy.pixels import preprocess
from secateur.deploy.sessions import Array
from secateur.detectors.detection import Detector
from secateur.detectors.postprocess import select_faces
from secateur.errors import InputError

Pixels = NDArray[np.uint8]

TOLERANCE = 1e-4
"""Of raw outputs, as a share of the largest value of the output where that is above 1."""
BOX_TOLERANCE = 0.05
"""Pixels."""
SCORE_TOLERANCE = 1e-3

_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Parity:
    """How far an exported file is from PyTorch.

    Attributes:
        pictures: Pictures compared.
        sizes: Height and width of the inputs.
        outputs: Largest difference of each raw output, see ``TOLERANCE``.
        faces: Faces found by PyTorch, and by the file; None for a recognizer.
        box_difference: Largest difference of a coordinate in pixels.
        score_difference: Largest difference of a score, or of an embedding of length 1.
        agrees: Whether all of it is within the tolerances.
    """

    pictures: int
    sizes: tuple[tuple[int, int], ...]
    outputs: tuple[float, ...]
    faces: tuple[int, int] | None
    box_difference: float
    score_difference: float
    agrees: bool


@torch.no_grad()
def check_parity(
    network: nn.Module, description: Description, path: Path, pictures: Sequence[Pixels]
) -> Parity:
    """Run an exported file in a fresh process and hold it against PyTorch.

    Args:
        network: What was exported, before anything was folded.
        description: Of the file.
        path: The file.
        pictures: (H, W, 3) RGB each, of at least two sizes; for a recognizer as it wants them cut.

    Raises:
        InputError: If the file does not run at all.
    """
    pixels = description.pixels
    network = network.eval().cpu()
    inputs = [preprocess(picture, pixels) for picture in pictures]
    given = [
        picture[None] if pixels.type == "uint8" else image.numpy()
        for picture, image in zip(pictures, inputs, strict=True)
    ]
    found = run_in_fresh_process(description.format, path, given)
    expected = [_outputs(network(image)) for image in inputs]
    sizes = tuple((picture.shape[0], picture.shape[1]) for picture in pictures)
    if description.suppression is None:
        if pixels.type == "uint8":  # the file gives embeddings of length 1
            expected = [[torch.nn.functional.normalize(outputs[0])] for outputs in expected]
        outputs = compare_outputs([[o.numpy() for o in each] for each in expected], found)
        lengths = [_normalized(each[0].numpy()) for each in expected]
        apart = [
            float(np.abs(ours - _normalized(theirs[0])).max())
            for ours, theirs in zip(lengths, found, strict=True)
        ]
        agrees = max(outputs) <= TOLERANCE
        return Parity(len(pictures), sizes, outputs, None, 0.0, max(apart), agrees)
    detector, suppression = cast("Detector", network), description.suppression
    ours = [
        _faces(detector, outputs_of_one, image, suppression)
        for outputs_of_one, image in zip(expected, inputs, strict=True)
    ]
    if suppression.inside:
        outputs, theirs = (), [each[0] for each in found]
    else:
        outputs = compare_outputs([[o.numpy() for o in each] for each in expected], found)
        theirs = [
            _faces(detector, [torch.from_numpy(o) for o in each], image, suppression)
            for each, image in zip(found, inputs, strict=True)
        ]
    matches = [
        match_faces(a, b, suppression.score_threshold) for a, b in zip(ours, theirs, strict=True)
    ]
    agrees = all(match[2] for match in matches) and max(outputs, default=0.0) <= TOLERANCE
    return Parity(
        len(pictures),
        sizes,
        outputs,
        (sum(map(len, ours)), sum(map(len, theirs))),
        max(match[0] for match in matches),
        max(match[1] for match in matches),
        agrees,
    )


def _outputs(outputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Outputs as a list."""
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _normalized(embeddings: Array) -> Array:
    """Rows of length 1."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    normalized: Array = embeddings / np.maximum(lengths, 1e-12)
    return normalized


def _faces(
    detector: Detector, outputs: Sequence[Tensor], image: Tensor, suppression: Suppression
) -> NDArray[np.float32]:
    """Faces (K, 5) of one picture in pixels, from raw outputs."""
    size = (image.shape[-2], image.shape[-1])
    (rows,) = select_faces(
        detector.scores(outputs),
        lambda chosen: detector.decode(outputs, chosen, size),
        score_threshold=suppression.score_threshold,
        iou_threshold=suppression.iou_threshold,
        max_candidates=suppression.max_candidates or 10**9,
        max_faces=suppression.max_faces,
    )
    faces = rows[:, :5] * rows.new_tensor([size[1], size[0], size[1], size[0], 1.0])
    values: NDArray[np.float32] = faces.numpy()
    return values


def run_in_fresh_process(kind: str, path: Path, inputs: Sequence[Array]) -> list[list[Array]]:
    """Outputs of an exported file for every input.

    Args:
        kind: ``onnx``, ``torchscript`` or ``executorch``.
        path: The file.
        inputs: What the network takes, one batch each.

    Raises:
        InputError: If the process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        arrays: dict[str, Any] = {str(index): array for index, array in enumerate(inputs)}
        np.savez(given, **arrays)
        # -I: neither the folder of the project nor the environment reaches the process
        command = [sys.executable, "-I", runner.__file__, kind, str(path), str(given), str(found)]
        result = subprocess.run(  # noqa: S603  (our own interpreter and script)
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if result.returncode != 0:
            lines = [line for line in result.stderr.splitlines() if line.strip()]
            reason = lines[-1] if lines else f"exit status {result.returncode}"
            raise InputError(f"{path} does not run in a process of its own: {reason}")
        with np.load(found, allow_pickle=False) as stored:
            results = {name: stored[name] for name in stored.files}
    return [
        [results[f"{i}_{j}"] for j in range(sum(name.startswith(f"{i}_") for name in results))]
        for i in range(len(inputs))
    ]


def compare_outputs(
    expected: Sequence[Sequence[Array]], found: Sequence[Sequence[Array]]
) -> tuple[float, ...]:
    """Largest difference of each output over all inputs; infinite where shapes differ."""
    worst: list[float] = []
    for j in range(len(expected[0])):
        differences = [0.0]
        for ours, theirs in zip(expected, found, strict=True):
            if len(theirs) <= j or ours[j].shape != theirs[j].shape:
                differences.append(float("inf"))
            elif ours[j].size:
                scale = max(1.0, float(np.abs(ours[j]).max()))
                differences.append(float(np.abs(ours[j] - theirs[j]).max()) / scale)
        worst.append(max(differences))
    return tuple(worst)


def match_faces(
    expected: NDArray[np.float32], found: NDArray[np.float32], threshold: float
) -> tuple[float, float, bool]:
    """Hold two lists of faces against each other.

    A face whose score is within ``SCORE_TOLERANCE`` of the threshold may be missing from either.

    Args:
        expected: (K, 5) x1, y1, x2, y2 in pixels, score.
        found: (L, 5) likewise.
        threshold: Below it faces are dropped.

    Returns:
        Largest difference of a coordinate, of a score, and whether all faces have a counterpart.
    """
    box, score, complete = 0.0, 0.0, True
    for ours, theirs in ((expected, found), (found, expected)):
        for row in ours[ours[:, 4] > threshold + SCORE_TOLERANCE]:
            if not len(theirs):
                return box, score, False
            distances = np.abs(theirs[:, :4] - row[:4]).max(axis=1)
            nearest = int(distances.argmin())
            box = max(box, float(distances[nearest]))
            score = max(score, float(abs(theirs[nearest, 4] - row[4])))
            complete &= box <= BOX_TOLERANCE and score <= SCORE_TOLERANCE
    return box, score, complete
