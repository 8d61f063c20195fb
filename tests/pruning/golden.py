"""Golden pruning runs of the published detectors, under the names of our networks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD


def canonical(name: str) -> str:
    """Name of a layer in the official release, which the golden files give an alias."""

    def rename(match: re.Match[str]) -> str:
        number = int(match[1])
        if number == 6:
            return "m0.fpn."
        return f"m0.b2_{number}." if number < 6 else f"m0.FEM_{number - 7}."

    return re.sub(r"m0\.layer(\d+)\.", rename, name)


def published(reference: Path, model: str) -> nn.Module:
    """The dense network that was pruned."""
    network: nn.Module = EResFD("bfpgm") if model == "eresfd" else EXTD(64)
    state = load_file(reference / "weights" / f"bfpgm_{model}_original.safetensors")
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return network


def pruning_runs(reference: Path, model: str) -> dict[str, Any]:
    """The golden file of one detector."""
    text = (reference / "golden" / "pruning" / f"bfpgm_{model}.json").read_text()
    content: dict[str, Any] = json.loads(text)
    return content


def masks_of(run: dict[str, Any]) -> dict[str, set[int]]:
    """Pruned filters per layer of one golden run."""
    masks = {}
    for name, mask in run["masks"].items():
        masks[canonical(name)] = set(mask["zero"] if isinstance(mask, dict) else mask)
    return masks


def scores_of(reference: Path, model: str, criterion: str) -> dict[str, Tensor]:
    """Golden scores per layer."""
    with np.load(reference / "golden" / "pruning" / f"bfpgm_{model}_metrics.npz") as file:
        return {
            canonical(key.removeprefix(f"{criterion}/")): torch.from_numpy(file[key])
            for key in file.files
            if key.startswith(f"{criterion}/")
        }
