"""Weights at the end of the dense phase, from which one training can be pruned in several ways."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from secateur.files import atomic_write

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
        with safe_open(path, "pt") as file:
            found = json.loads((file.metadata() or {}).get(_KEY, "null"))
    except (SafetensorError, OSError, ValueError):
        return None  # whoever reads the tensors says what is wrong with the file
    fits = isinstance(found, dict) and isinstance(found.get("name"), str)
    return found if fits and isinstance(found.get("arguments"), dict) else None
