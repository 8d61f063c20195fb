"""From a loaded network to what an exported file says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import nn

from secateur.data.face_crop import MEAN, SCALE
from secateur.deploy.description import (
    AnchorLayout,
    Description,
    PixelFormat,
    PointLayout,
    Suppression,
)
from secateur.deploy.exported import ExportedNetwork
from secateur.deploy.folding import fold
from secateur.deploy.pixels import BoxesFromPixels, EmbeddingsFromPixels, PointDecoder
from secateur.detectors.anchors import SIZES
from secateur.detectors.boxes import VARIANCE
from secateur.detectors.detection import Detector
from secateur.detectors.points import STRIDES
from secateur.detectors.prediction_heads import AnchorDetector
from secateur.detectors.yunet import YuNet
from secateur.errors import InputError
from secateur.workflows.loading import LoadedNetwork, figures_of

_PROVENANCE = ("origin", "licence", "kind", "model")


def describe(
    loaded: LoadedNetwork,
    backend: str,
    *,
    inside: bool = False,
    quantization: str = "none",
    limits: Mapping[str, Any] | None = None,
) -> Description:
    """What an exported file of a network says about itself.

    Args:
        loaded: A network of PyTorch.
        backend: ``onnx``, ``torchscript`` or ``executorch``.
        inside: Whether preprocessing, decoding and suppression are inside the file.
        quantization: ``none`` or ``int8``.
        limits: Thresholds, as of ``Suppression``; None for the published ones.

    Raises:
        InputError: If what is wanted inside cannot be there.
    """
    network = torch_network(loaded)
    provenance = {key: loaded.about[key] for key in _PROVENANCE if loaded.about.get(key)}
    if loaded.task == "recognition":
        assert loaded.cut is not None
        return Description(
            task="recognition",
            name=loaded.name,
            format=backend,
            outputs=("embeddings",),
            pixels=PixelFormat(
                "uint8" if inside else "float32",
                mean=MEAN,
                scale=SCALE,
                size=(loaded.cut.side, loaded.cut.side),
            ),
            cut=loaded.cut,
            architecture=loaded.architecture,
            quantization=quantization,
            provenance=provenance,
            figures=figures_of(loaded),
        )
    detector = cast("Detector", network)
    seen = detector.preprocessing
    anchors = anchor_layout(network)
    points = point_layout(network)
    if inside and anchors is None and points is None:
        raise InputError(
            f"postprocess=true is there for detectors of anchors and of points, and {loaded.name} "
            "is neither: export it without, and decode its outputs yourself"
        )
    suppression = Suppression(inside, **dict(limits or {}))
    if inside:  # see secateur.deploy.onnx: sorting all anchors would cost more than the network
        suppression = Suppression(
            True, suppression.score_threshold, suppression.iou_threshold, 0, suppression.max_faces
        )
    return Description(
        task="detection",
        name=loaded.name,
        format=backend,
        outputs=("faces", "pictures") if inside else detector.output_names,
        pixels=PixelFormat(
            "uint8" if inside else "float32",
            seen.order,
            seen.mean,
            (1 / seen.scale,) * 3,
            seen.multiple,
        ),
        anchors=anchors,
        points=points,
        suppression=suppression,
        architecture=loaded.architecture,
        quantization=quantization,
        provenance=provenance,
        figures=figures_of(loaded),
    )


def torch_network(loaded: LoadedNetwork) -> nn.Module:
    """The network as a module.

    Raises:
        InputError: If it is an exported file already.
    """
    if isinstance(loaded.network, ExportedNetwork):
        raise InputError(
            f"{loaded.network.path} is an exported file already: give the run or the weights that "
            "it was made from"
        )
    return loaded.network


def exportable(loaded: LoadedNetwork, description: Description) -> nn.Module:
    """What is exported: the folded network, behind its preprocessing where that is inside.

    That of a detector of points is added to the graph later, see ``export_onnx``.
    """
    network = fold(torch_network(loaded))
    if description.pixels.type == "float32":
        return network
    if description.anchors is not None:
        return BoxesFromPixels(network, description.pixels, description.anchors).eval()
    if description.points is not None:
        return PointDecoder(network, description.points).eval()
    return EmbeddingsFromPixels(network, description.pixels).eval()


def anchor_layout(network: nn.Module) -> AnchorLayout | None:
    """Where the anchors of a detector lie; None for one without."""
    if not isinstance(network, AnchorDetector):
        return None
    cache = network.anchor_cache
    return AnchorLayout(cache.cell_strides, cache.strides, SIZES, cache.ratio, VARIANCE)


def point_layout(network: nn.Module) -> PointLayout | None:
    """What the outputs of a detector of points mean; None for another."""
    if not isinstance(network, YuNet):
        return None
    return PointLayout(STRIDES, network.score == "root", network.bbox_head.landmarks)
