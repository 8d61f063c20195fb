"""What a finished run left: its configuration, its figures and its thresholds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from secateur.errors import InputError
from secateur.pruning.artifact import SPECIFICATION

SUMMARY = "summary.json"
VERIFICATION = "verification.json"


def latest_run(outputs: Path) -> Path:
    """The run that finished last.

    Args:
        outputs: Folder that run folders lie in, at any depth.

    Raises:
        InputError: If none has finished there.
    """
    finished = [
        path
        for path in outputs.rglob(SUMMARY)
        if (path.parent / SPECIFICATION).is_file() and path.parent.parent.name != "steps"
    ]
    if not finished:
        raise InputError(
            f"no run has finished under {outputs}: train one, such as with python train.py "
            "model=eresfd pruning=fpgm rate=0.3, or give the folder of a run"
        )
    return max(finished, key=lambda path: path.stat().st_mtime).parent


def read_config(run: Path) -> DictConfig:
    """The resolved configuration of a run.

    Raises:
        InputError: If it is no mapping.
    """
    config = OmegaConf.load(run / "config.yaml")
    if not isinstance(config, DictConfig):
        raise InputError(f"{run / 'config.yaml'} holds no configuration; restore it from a copy")
    return config


def read_summary(run: Path) -> dict[str, Any]:
    """The flat record of a run; empty where it has none."""
    return _read(run / SUMMARY)


def thresholds_of_run(run: Path) -> dict[str, float]:
    """Cosine similarity for each false accept rate that the pairs of a run support.

    They are written when the pairs are verified: at the end of training, or by evaluate.py.
    """
    for folder in (run, run / "evaluation"):
        found = _read(folder / VERIFICATION).get("thresholds")
        if isinstance(found, dict):
            return {str(far): float(value) for far, value in found.items()}
    return {}


def _read(path: Path) -> dict[str, Any]:
    """A JSON mapping; empty where there is no file.

    Raises:
        InputError: If the file holds something else.
    """
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): restore it from a copy") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no mapping: restore it from a copy")
    return values
