"""Weights of recognisers: torchvision's, those of a checkpoint, and the head in it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torchvision.models
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.weights.strict_loading import load_strictly

log = logging.getLogger(__name__)

IMAGENET = "imagenet"

_TORCHVISION_NAMES = {
    "squeezenet": "squeezenet1_1",
    "mobilenetv2": "mobilenet_v2",
    "resnet50": "resnet50",
}


def is_imagenet(weights: object) -> bool:
    """Whether ``weights=`` asks for torchvision's, as ``imagenet`` or ``imagenet:VERSION``."""
    return str(weights).partition(":")[0] == IMAGENET


def fetch_imagenet(architecture: str, weights: str = IMAGENET) -> dict[str, Tensor]:
    """Weights that torchvision publishes for ImageNet, from its cache or the network.

    Args:
        architecture: Name of the class of the network in lower case.
        weights: ``imagenet``, or a name in torchvision's weight enum behind it, such as
            ``imagenet:IMAGENET1K_V1``.

    Returns:
        Name to tensor.

    Raises:
        InputError: If there is no such version, or it cannot be fetched.
    """
    if architecture not in _TORCHVISION_NAMES:
        raise InputError(
            f"weights={weights} exists for {', '.join(_TORCHVISION_NAMES)}, not for {architecture}"
        )
    version = weights.partition(":")[2] or "DEFAULT"
    enum = torchvision.models.get_model_weights(_TORCHVISION_NAMES[architecture])
    if version not in enum.__members__:
        raise InputError(
            f"weights={IMAGENET}:{version} does not exist for {architecture}; choose from "
            f"{', '.join(enum.__members__)}"
        )
    try:
        state: dict[str, Tensor] = enum[version].get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"weights={IMAGENET} cannot be fetched ({error}); download {enum[version].url} "
            "elsewhere and give the file as weights=PATH"
        ) from error
    return state


def load_weights(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy weights into a recogniser, all or none.

    ImageNet classifiers are left out. SqueezeNet's published weights know no batch norm; theirs
    keep the values they start with, and so must be trained before the network is of any use.

    Args:
        network: A recogniser.
        state: Tensors by torchvision's names, or of a checkpoint of a run.
        source: What to call the weights in a message.

    Raises:
        InputError: If a tensor is missing, left over or of another shape.
    """
    expected = network.state_dict()
    if any(name.startswith("network.") for name in state):
        state = {n.removeprefix("network."): t for n, t in state.items() if n[:8] == "network."}
    found = {
        name: tensor
        for name, tensor in state.items()
        if name in expected or not name.startswith(("fc.", "classifier."))
    }
    absent = [name for name in expected if name not in found]
    if absent and all("activation.0." in n or n.startswith(_ADDED_NORMS) for n in absent):
        log.info("%s has no batch norm: scales start at 1 and shifts at 0", source)
        found |= {name: expected[name] for name in absent}
    remedy = "choose the model that it belongs to, or other weights"
    load_strictly(network, found, source, lambda: remedy)


def head_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the identification head in a checkpoint of a run; empty if there is none."""
    return {n.removeprefix("head."): t for n, t in state.items() if n.startswith("head.")}


_ADDED_NORMS = ("features.1.0.", "classifier.2.0.")
