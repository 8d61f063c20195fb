"""``from secateur import load``: a network that answers pictures, in one line."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from secateur.deploy.conversion import can_convert, converted
from secateur.deploy.description import Suppression
from secateur.deploy.exported import (
    ExportedFaces,
    ExportedNetwork,
    ExportedRecognizer,
    open_exported,
)
from secateur.deploy.face_detector import FaceDetector
from secateur.deploy.face_embedder import FaceEmbedder
from secateur.detectors.detection import Detector, detect
from secateur.errors import InputError
from secateur.runtime.fusion import fuse
from secateur.workflows.deploy.describing import describe, exportable
from secateur.workflows.loading import LoadedNetwork, load_network

log = logging.getLogger(__name__)

BACKENDS = ("auto", "onnx", "torch")


def load(
    path: str | Path,
    *,
    backend: str = "auto",
    device: str | torch.device = "cpu",
    threads: int | None = None,
) -> FaceDetector | FaceEmbedder:
    """Load a network and what it needs to answer pictures.

    Args:
        path: Folder of a finished run, ``latest``, a slim network, a checkpoint, weights (official,
            published or own), or a file that export.py wrote.
        backend: ``torch``, ``onnx``, or ``auto`` for the faster one that is installed: ONNX Runtime
            on a processor. A network is converted for it once and kept in the user's cache.
        device: Where PyTorch runs the network, such as ``cuda``; ONNX Runtime runs on the CPU.
        threads: Threads of one operator of ONNX Runtime, or of all ExecuTorch files; None takes
            PyTorch's number, which PyTorch itself keeps to.

    Returns:
        A ``FaceDetector``, which gives the faces of pictures in pixels, or a ``FaceEmbedder``,
        which gives embeddings.

    Raises:
        InputError: If there is no network, or the backend is not there.

    Examples:
        >>> from secateur import load                              # doctest: +SKIP
        >>> detector = load("outputs/eresfd-fpgm-0.3/latest")      # doctest: +SKIP
        >>> faces = detector("photo.jpg")                          # doctest: +SKIP
        >>> faces.boxes, faces.scores                              # doctest: +SKIP
    """
    loaded = load_network(path)
    make = as_detector if loaded.task == "detection" else as_embedder
    return make(loaded, backend=backend, device=device, threads=threads)


def as_detector(
    loaded: LoadedNetwork,
    *,
    backend: str = "auto",
    device: str | torch.device = "cpu",
    threads: int | None = None,
) -> FaceDetector:
    """What answers pictures with faces; arguments as of ``load``.

    Raises:
        InputError: If the network is no detector.
    """
    if loaded.task != "detection":
        raise InputError(f"{loaded.name} is a recognizer, which finds no faces: give a detector")
    network, runs = _on_backend(loaded, backend, torch.device(device), threads)
    options = {
        "name": loaded.name,
        "backend": runs,
        "device": device,
        "keeps_singles": loaded.keeps_singles,
    }
    if isinstance(network, ExportedFaces):
        return FaceDetector(network.detect, network.preprocessing, **options)  # type: ignore[arg-type]
    detector = cast("Detector", network)
    find = functools.partial(_find, detector, limits=_limits(loaded))
    return FaceDetector(find, detector.preprocessing, **options)  # type: ignore[arg-type]


def as_embedder(
    loaded: LoadedNetwork,
    *,
    backend: str = "auto",
    device: str | torch.device = "cpu",
    threads: int | None = None,
) -> FaceEmbedder:
    """What answers pictures with embeddings; arguments as of ``load``.

    Raises:
        InputError: If the network is no recognizer.
    """
    if loaded.task != "recognition" or loaded.cut is None:
        raise InputError(f"{loaded.name} is a detector, which embeds nothing: give a recognizer")
    network, runs = _on_backend(loaded, backend, torch.device(device), threads)
    embed = cast("Callable[[Tensor], Tensor]", network)
    if isinstance(network, ExportedNetwork):
        embed = ExportedRecognizer(network)
    return FaceEmbedder(embed, loaded.cut, name=loaded.name, backend=runs, device=device)


def _on_backend(
    loaded: LoadedNetwork, backend: str, device: torch.device, threads: int | None
) -> tuple[nn.Module | ExportedNetwork, str]:
    """The network as the wanted backend runs it, and the name of that backend."""
    if backend not in BACKENDS:
        raise InputError(f"backend={backend} does not exist; choose from {', '.join(BACKENDS)}")
    threads = torch.get_num_threads() if threads is None else int(threads)
    network = loaded.network
    if isinstance(network, ExportedNetwork):
        return open_exported(network.path, threads), network.description.format
    on_cpu = device.type == "cpu"
    if backend == "onnx" or (backend == "auto" and on_cpu and can_convert()):
        description = describe(loaded, "onnx")
        path = converted(network, description, lambda: exportable(loaded, description))
        return open_exported(path, threads), "onnx"
    fused = fuse(network) if on_cpu else network
    return fused.to(device, memory_format=torch.channels_last), "torch"  # type: ignore[call-overload]


def _limits(loaded: LoadedNetwork) -> dict[str, float]:
    """Thresholds: of an exported file its own, else the published ones."""
    network = loaded.network
    found = network.description.suppression if isinstance(network, ExportedNetwork) else None
    found = found or Suppression()
    return {
        "score_threshold": found.score_threshold,
        "iou_threshold": found.iou_threshold,
        "max_candidates": found.max_candidates,
        "max_faces": found.max_faces,
    }


def _find(
    network: Detector, images: Tensor, limits: dict[str, float], min_score: float = 0.0
) -> list[Tensor]:
    """Faces of a batch of inputs, in fractions of them."""
    if isinstance(network, nn.Module):
        # on a CPU convolutions of few channels run about 1.4 times faster with channels last
        images = images.contiguous(memory_format=torch.channels_last)
    threshold = max(limits["score_threshold"], min_score)
    return detect(network, images, **{**limits, "score_threshold": threshold})
