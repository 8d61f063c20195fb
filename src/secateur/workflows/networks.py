"""Where a detector comes from: weights, a finished run, or the ONNX file of a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from secateur.cost.parameters import count_nonzero, count_parameters
from secateur.deploy.yunet_onnx import OnnxYuNet, count_parameters_of
from secateur.detectors.detection import Detector, detect
from secateur.errors import InputError
from secateur.pruning.artifact import load_slim
from secateur.runtime.fusion import fuse
from secateur.weights.architectures import BUILDERS
from secateur.weights.detector_weights import identify, read_weights
from secateur.workflows.build import build_network

_KEEPS_SINGLES = "clovaai/EResFD"  # the one release whose own evaluation does


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
        images = images.contiguous(memory_format=torch.channels_last)
        return detect(self.detector, images, **postprocess)


def source_of_weights(config: DictConfig) -> DetectorSource:
    """The detector of ``model=`` with ``weights=``.

    Raises:
        InputError: If there are no such weights or they belong to another model.
    """
    path = Path(str(config.weights))
    about: dict[str, Any] = {"kind": "weights", "model": str(config.model.name), "path": str(path)}
    if config.model.task == "baseline":
        baseline = OnnxYuNet(path)
        parameters = count_parameters_of(path)
        return DetectorSource(path.stem, baseline, {**about, "parameters": parameters})
    if config.model.task != "detection":
        raise InputError(f"model={config.model.name} is no detector; choose eresfd or extd_64")
    network, _ = build_network(config)
    found = identify(read_weights(path))
    keeps = found is not None and found.origin.endswith(_KEEPS_SINGLES)
    if found is not None:
        about.update(origin=found.origin, licence=found.licence, arguments=found.arguments)
    return _source(path.name.partition(".")[0], network, about, keeps)


def source_of_run(folder: Path) -> DetectorSource:
    """The slim network of a finished run.

    Raises:
        InputError: If the folder holds none.
    """
    if not folder.is_dir():
        raise InputError(f"run={folder} does not exist; give the folder of a finished run")
    if not (folder / "model.json").is_file():
        unfinished = (folder / "checkpoints").is_dir()
        raise InputError(
            f"run={folder} has not finished: the same train.py command goes on with it"
            if unfinished
            else f"run={folder} holds no model.json; give the folder of a finished run"
        )
    network = load_slim(folder, BUILDERS)
    if not callable(getattr(network, "decode", None)):
        raise InputError(f"run={folder} holds no detector, so it has no average precision")
    # outputs/NAME/STAMP: the name tells more than the stamp
    name = folder.resolve().parent.name if folder.resolve().name[:2] == "20" else folder.name
    return _source(name, network, {"kind": "run", "path": str(folder)}, keeps_singles=False)


def _source(
    name: str, network: nn.Module, about: Mapping[str, Any], keeps_singles: bool
) -> DetectorSource:
    """A network in evaluation mode with its counts."""
    parameters, nonzero = count_parameters(network), count_nonzero(network)
    counts = {
        "parameters": parameters,
        "nonzero_parameters": nonzero,
        "sparsity": (parameters - nonzero) / max(1, parameters),
    }
    detector = cast("Detector", network.eval())
    return DetectorSource(name, detector, {**about, **counts}, keeps_singles)
