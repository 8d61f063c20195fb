"""Golden pruning runs of the published detectors, as plain Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def weights_of(reference: Path, model: str) -> dict[str, Tensor]:
    """Convolution weights of the published original, under the names of the golden files."""
    state = load_file(reference / "weights" / f"bfpgm_{model}_original.safetensors")
    weights = {name.removesuffix(".weight"): v for name, v in state.items() if v.ndim == 4}
    return weights | {name: v for name, v in state.items() if name.endswith(".bias")}


def convolutions(weights: dict[str, Tensor]) -> dict[str, nn.Module]:
    """A bare layer around each weight."""
    layers: dict[str, nn.Module] = {}
    for name, weight in weights.items():
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], bias=False)
        layer.weight.data = weight
        layers[name] = layer
    return layers


def pruning_runs(reference: Path, model: str) -> dict[str, Any]:
    """The golden file of one detector."""
    text = (reference / "golden" / "pruning" / f"bfpgm_{model}.json").read_text()
    content: dict[str, Any] = json.loads(text)
    return content


def scores_of(reference: Path, model: str, criterion: str) -> dict[str, Tensor]:
    """Golden scores per layer."""
    with np.load(reference / "golden" / "pruning" / f"bfpgm_{model}_metrics.npz") as file:
        return {
            key.removeprefix(f"{criterion}/"): torch.from_numpy(file[key])
            for key in file.files
            if key.startswith(f"{criterion}/")
        }
