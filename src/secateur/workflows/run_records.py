"""Records of a finished run: its configuration, figures and thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.errors import InputError
from secateur.pruning.artifact import SPECIFICATION
from secateur.readers import read_json
from secateur.schema import is_number, mapping_in
from secateur.workflows.config.saved_config import Values, read_saved_config

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


def read_config(run: Path) -> Values:
    """The configuration of a run: names and values, from which nothing is executed."""
    return read_saved_config(run / "config.yaml")


def value_at(config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """The value of a dotted key; the default where it is absent or null."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return default if node is None else node


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
            return {str(far): float(value) for far, value in found.items() if is_number(value)}
    return {}


def _read(path: Path) -> dict[str, Any]:
    """A JSON mapping; empty where there is no file.

    Raises:
        InputError: If the file holds something else.
    """
    if not path.is_file():
        return {}
    remedy = "restore it from a copy, or delete it"
    return mapping_in(read_json(path, remedy), path, remedy)
