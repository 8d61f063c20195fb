"""Detectors to evaluate: of weights, a finished run, an exported file or a baseline."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from secateur.deploy.exported import ExportedFaces, is_exported
from secateur.deploy.yunet_onnx import OnnxYuNet, count_parameters_of
from secateur.detectors.detection import Detector, detect
from secateur.errors import InputError
from secateur.pruning.artifact import is_slim
from secateur.runtime.fusion import fuse
from secateur.weights.detector_weights import identify, read_weights
from secateur.workflows.build import build_network
from secateur.workflows.loading import LoadedNetwork, count, keeps_singles, load_network


@dataclass(frozen=True, slots=True, eq=False)
class DetectorSource:
    """A detector and what is known about it.

    Attributes:
        name: Short name for tables and folders.
        detector: The network, or what behaves like one.
        about: Plain values for the record: model, path, origin, parameters, sparsity.
        keeps_singles: Whether its authors keep, in box voting, what only one look found.
    """

    name: str
    detector: Detector
    about: dict[str, Any] = field(default_factory=dict)
    keeps_singles: bool = False

    def on(self, device: torch.device, *, fused: bool) -> DetectorSource:
        """The same on a device; ONNX Runtime stays on the processor.

        Args:
            device: Where the detector is to run.
            fused: Whether convolutions take over batch norms and activations on a CPU.
        """
        if not isinstance(self.detector, nn.Module):
            return self
        network = fuse(self.detector) if fused and device.type == "cpu" else self.detector
        # on a CPU convolutions of few channels run about 1.4 times faster with channels last
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return replace(self, detector=cast("Detector", network))

    @torch.no_grad()
    def detect(self, images: Tensor, **postprocess: Any) -> list[Tensor]:
        """Faces of a batch.

        Args:
            images: (B, 3, H, W) as the preprocessing of the detector makes them.
            **postprocess: Thresholds, as of ``select_faces``.

        Returns:
            Per image (K, 5) x1, y1, x2, y2 in 0..1 of the input and the score, or (K, 15) with
            landmarks.
        """
        if isinstance(self.detector, ExportedFaces):
            return self.detector.detect(images)  # with the thresholds that are inside the file
        images = images.contiguous(memory_format=torch.channels_last)
        return detect(self.detector, images, **postprocess)


def source_of_weights(config: DictConfig) -> DetectorSource:
    """The detector of ``weights=``: an exported file, or a file of weights for ``model=``.

    Raises:
        InputError: If there are no such weights or they belong to another model.
    """
    path = Path(str(config.weights))
    about: dict[str, Any] = {"kind": "weights", "model": str(config.model.name), "path": str(path)}
    if config.model.task == "baseline":
        baseline = OnnxYuNet(path)
        parameters = count_parameters_of(path)
        return DetectorSource(path.stem, baseline, {**about, "parameters": parameters})
    if is_exported(path) or is_slim(path):
        return _source(load_network(path))
    if config.model.task != "detection":
        raise InputError(f"model={config.model.name} is no detector; choose eresfd or extd_64")
    network, _ = build_network(config)
    found = identify(read_weights(path))
    if found is not None:
        about.update(origin=found.origin, licence=found.licence, arguments=found.arguments)
    name = path.name.partition(".")[0]
    return DetectorSource(
        name,
        cast("Detector", network.eval()),
        {**about, **count(network)},
        found is not None and keeps_singles(found.origin),
    )


def source_of_run(folder: Path) -> DetectorSource:
    """The slim network of a finished run.

    Raises:
        InputError: If the folder holds none.
    """
    loaded = load_network(folder)
    if loaded.task != "detection":
        raise InputError(f"run={folder} holds no detector, so it has no average precision")
    return _source(loaded)


def _source(loaded: LoadedNetwork) -> DetectorSource:
    """A loaded detector as one to evaluate."""
    detector = cast("Detector", loaded.network)
    return DetectorSource(loaded.name, detector, dict(loaded.about), loaded.keeps_singles)
