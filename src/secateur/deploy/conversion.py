"""Conversion for ONNX Runtime, once per network, into the user's cache."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from torch import nn

from secateur.deploy.description import Description, write_beside
from secateur.deploy.onnx import export_onnx

log = logging.getLogger(__name__)

_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_VERSION = "1"  # of what folding and export make of a network


def can_convert() -> bool:
    """Whether the packages that a conversion takes are installed."""
    return all(importlib.util.find_spec(name) is not None for name in _NEEDED)


def converted(network: nn.Module, description: Description, make: Callable[[], nn.Module]) -> Path:
    """The ONNX file of a network; made where it is not in the cache yet.

    Args:
        network: The network, as it identifies itself by its tensors.
        description: Of the file.
        make: Gives what is exported.

    Returns:
        A file below ``$XDG_CACHE_HOME/secateur`` (``~/.cache/secateur``).
    """
    digest = hashlib.sha256(f"{_VERSION} {description.text()}".encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    path = cache_folder() / f"{digest.hexdigest()[:24]}.onnx"
    if not path.is_file():
        began = time.perf_counter()
        log.info("converting %s for ONNX Runtime, once", description.name)
        export_onnx(make(), path, description)
        write_beside(path, description)
        log.info("converted in %.0f s: %s", time.perf_counter() - began, path)
    return path


def cache_folder() -> Path:
    """Where converted networks are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "secateur"
