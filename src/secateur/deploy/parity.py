"""Parity: does an exported file compute what PyTorch computes?

The file is run in a fresh process, on real pictures at two sizes of which one is odd.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.deploy import runner
from secateur.deploy.description import Description, Suppression
from secateur.deploy.executorch import open_executorch
from secateur.deploy.pixels import preprocess
from secateur.deploy.sessions import Array, OnnxSession
from secateur.detectors.detection import Detector
from secateur.detectors.postprocess import select_faces
from secateur.errors import InputError

Pixels = NDArray[np.uint8]

TOLERANCE = 1e-4
"""Of raw outputs, as a share of the largest value of the output where that is above 1."""
BOX_TOLERANCE = 0.05
"""Pixels."""
SCORE_TOLERANCE = 1e-3
OVERLAP_TOLERANCE = 1e-3
"""Of an intersection over union."""

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
        match_faces(a, b, suppression.score_threshold, suppression.iou_threshold)
        for a, b in zip(ours, theirs, strict=True)
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


def check_fresh_process(description: Description, path: Path, pictures: Sequence[Pixels]) -> None:
    """Hold an exported file in a fresh process against the same file in this one.

    For files that do not compute what PyTorch computes, such as those of eight bits.

    Raises:
        InputError: If it does not run there, or computes something else.
    """
    pixels = description.pixels
    given = [
        picture[None] if pixels.type == "uint8" else preprocess(picture, pixels).numpy()
        for picture in pictures
    ]
    run = opened(path)
    found = run_in_fresh_process(description.format, path, given)
    worst = max(compare_outputs([run(array) for array in given], found))
    if worst > TOLERANCE:
        raise InputError(
            f"{path.name} computes something else in a process of its own: outputs differ by up to "
            f"{worst:.3g} (allowed: {TOLERANCE})"
        )


def opened(path: Path, threads: int = 1) -> Callable[[Array], Sequence[Array]]:
    """What runs an ONNX file or a ``.pte``, whatever it says about itself."""
    if path.suffix == ".pte":
        return open_executorch(path, threads)[1]
    return OnnxSession(path, threads).run


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
            died = result.returncode < 0 or not lines
            reason = f"exit status {result.returncode}" if died else lines[-1]
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
    expected: NDArray[np.float32],
    found: NDArray[np.float32],
    threshold: float,
    overlap: float = 1.0,
) -> tuple[float, float, bool]:
    """Hold two lists of faces against each other.

    Rounding may decide where a comparison is as good as even. So a face may be missing from either
    list if its score is within ``SCORE_TOLERANCE`` of the threshold, or if what suppressed it in
    the other list is of the same score, or overlaps it by just about what suppresses; and so may
    what was suppressed by, or escaped, such a face.

    Args:
        expected: (K, 5) x1, y1, x2, y2 in pixels, score.
        found: (L, 5) likewise.
        threshold: Below it faces are dropped.
        overlap: Intersection over union above which the better of two boxes suppresses the other;
            1 where nothing was suppressed.

    Returns:
        Largest difference of a coordinate, of a score, and whether all faces have a counterpart or
        are missing for one of these reasons.
    """
    sides = ((expected, found), (found, expected))
    apart = [_counterparts(faces, others) for faces, others in sides]
    clear = [faces[:, 4] > threshold + SCORE_TOLERANCE for faces, _ in sides]
    paired = [(box <= BOX_TOLERANCE) & (score <= SCORE_TOLERANCE) for box, score in apart]
    gone = [faces[c & ~p] for (faces, _), c, p in zip(sides, clear, paired, strict=True)]
    explained = _are_swaps(gone, [others for _, others in sides], overlap)
    counted = paired if explained else clear
    kept = [(box[c], score[c]) for (box, score), c in zip(apart, counted, strict=True)]
    box, score = (max(float(part[i].max(initial=0)) for part in kept) for i in (0, 1))
    return box, score, explained


def _counterparts(
    faces: NDArray[np.float32], others: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Differences (K,) in coordinates and in score from each face to the nearest of the others."""
    if not len(faces) or not len(others):
        infinite = np.full(len(faces), np.inf, np.float32)
        return infinite, infinite
    distances = np.abs(faces[:, None, :4] - others[None, :, :4]).max(axis=2)
    nearest = distances.argmin(axis=1)
    scores = np.abs(faces[:, 4] - others[nearest, 4])
    return distances[np.arange(len(faces)), nearest], scores


def _are_swaps(
    gone: Sequence[NDArray[np.float32]], others: Sequence[NDArray[np.float32]], overlap: float
) -> bool:
    """Whether all faces that are missing from the other list are so by even decisions.

    Args:
        gone: Faces (K, 5) of either list that the other one has not.
        others: The whole other list (L, 5) for each.
        overlap: Intersection over union above which the better box suppresses the other.
    """
    reasons = [np.zeros(len(faces), bool) for faces in gone]
    for side, faces in enumerate(gone):
        for index, face in enumerate(faces):
            shared = _overlaps(face, others[side])
            even_score = np.abs(others[side][:, 4] - face[4]) <= SCORE_TOLERANCE
            even_overlap = np.abs(shared - overlap) <= OVERLAP_TOLERANCE
            reasons[side][index] = (even_overlap | (even_score & (shared > overlap))).any()
    changed = True
    while changed:  # what a swapped face suppresses, or no longer suppresses, is swapped too
        changed = False
        for side, faces in enumerate(gone):
            swapped = gone[1 - side][reasons[1 - side]]
            for left in np.flatnonzero(~reasons[side]):
                if (_overlaps(faces[left], swapped) > overlap).any():
                    reasons[side][left] = True
                    changed = True
    return all(bool(reason.all()) for reason in reasons)


def _overlaps(face: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union (K,) of one box with others."""
    low, high = np.maximum(face[:2], others[:, :2]), np.minimum(face[2:4], others[:, 2:4])
    shared = np.maximum(high - low, 0).prod(axis=1)
    areas = (others[:, 2:4] - others[:, :2]).prod(axis=1) + (face[2:4] - face[:2]).prod()
    overlaps: NDArray[np.float32] = shared / np.maximum(areas - shared, 1e-9)
    return overlaps
