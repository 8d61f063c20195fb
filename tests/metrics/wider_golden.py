"""The golden evaluation sets and the official ground truth, read independently of the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def read_ground_truth(folder: Path) -> tuple[Arrays, dict[str, dict[str, NDArray[np.bool_]]]]:
    """Faces and masks of all validation pictures, in the order of the .mat files."""
    mats = {s: scipy.io.loadmat(folder / f"wider_{s}_val.mat") for s in ("easy", "medium", "hard")}
    whole = scipy.io.loadmat(folder / "wider_face_val.mat")
    faces: Arrays = {}
    masks: dict[str, dict[str, NDArray[np.bool_]]] = {}
    for i, event in enumerate(whole["event_list"][:, 0]):
        for j, file in enumerate(whole["file_list"][i, 0][:, 0]):
            name = f"{event[0]}/{file[0]}.jpg"
            faces[name] = whole["face_bbx_list"][i, 0][j, 0].astype(np.float64)
            masks[name] = {}
            for setting, mat in mats.items():
                mask = np.zeros(len(faces[name]), dtype=np.bool_)
                mask[mat["gt_list"][i, 0][j, 0].astype(int).ravel() - 1] = True
                masks[name][setting] = mask
    return faces, masks


def read_predictions(file: Path, names: list[str]) -> Arrays:
    """Predictions of one golden set; pictures without a file are absent."""
    with np.load(file) as stored:
        boxes, offsets = stored["boxes"], stored["offsets"]
        missing = set(stored["missing"].tolist())
    return {
        name: boxes[offsets[i] : offsets[i + 1]] for i, name in enumerate(names) if i not in missing
    }


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    results: dict[str, dict[str, Any]] = json.loads((folder / "results.json").read_text())
    return results
