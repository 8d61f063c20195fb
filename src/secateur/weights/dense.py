"""Weights at the end of the dense phase, from which one training can be pruned in several ways."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from secateur.errors import InputError
from secateur.files import atomic_write
from secateur.readers import parse_json
from secateur.tensor_files import read_metadata

_KEY = "architecture"


def save_dense(path: Path, tensors: Mapping[str, Tensor], architecture: Mapping[str, Any]) -> None:
    """Write weights whole or not at all, with what builds the network in the file's metadata.

    Shapes do not tell all that a network was built with, such as the ratio of its anchors.

    Args:
        path: The file, ``.safetensors``.
        tensors: Name to tensor, on any device.
        architecture: ``name`` and ``arguments`` (plain JSON values) that build the network.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, save(plain, metadata={_KEY: json.dumps(dict(architecture))}))


def read_architecture(path: Path) -> dict[str, Any] | None:
    """Name and arguments that ``save_dense`` wrote.

    Args:
        path: Any file of weights.

    Returns:
        ``name`` and ``arguments``; None for a file that says nothing of the kind.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        text = read_metadata(path, "fetch it again").get(_KEY, "null")
        found = parse_json(text, path, "fetch it again")
    except InputError:
        return None  # whoever reads the tensors says what is wrong with the file
    if not isinstance(found, dict):
        return None
    fits = isinstance(found, dict) and isinstance(found.get("name"), str)
    return found if fits and isinstance(found.get("arguments"), dict) else None
