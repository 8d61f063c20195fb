"""Run folders as small as they can be, for tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml


def write_run(folder: Path, **record: Any) -> Path:
    """A finished training with curves, layers, and a precision-recall table."""
    folder.mkdir(parents=True)
    values = {
        "task": "detection",
        "model": "eresfd",
        "criterion": "fpgm",
        "rate": 0.3,
        "data": "demo_faces",
        "params_dense": 92208,
        "params_slim": 70000,
        "macs_dense": 60_000_000,
        "macs_slim": 50_000_000,
        "latency_ms_dense": 8.0,
        "latency_ms_slim": 6.0,
        "ap_hard": 0.8,
        "ap_hard_start": 0.85,
        **record,
    }
    (folder / "summary.json").write_text(
        json.dumps({key: value for key, value in values.items() if value is not None})
    )
    config = {
        "model": {"name": values["model"], "task": values["task"]},
        "pruning": {"criterion": values["criterion"]},
        "data": {"name": values["data"], "root": "/somewhere"},
        "phases": {"prune_epochs": record.get("epochs", 3)},
        "output_dir": str(folder),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.csv").write_text(
        "epoch,step,name,value\n0,1,val/ap_hard,0.4\n1,2,val/ap_hard,0.8\n0,1,train/loss,3\n"
    )
    layers = [{"name": "conv1", "filters": 8, "kept": 6, "slim": 7}]
    (folder / "pruning.json").write_text(json.dumps({"total": {}, "layers": layers}))
    evaluation = folder / "evaluation" / "single-demo_faces"
    evaluation.mkdir(parents=True)
    about = {"name": folder.name, "kind": "run", "path": str(folder), "parameters": 70000}
    (evaluation / "evaluation.json").write_text(json.dumps({**about, "ap": {"hard": 0.79}}))
    (evaluation / "precision_recall.csv").write_text(
        "setting,threshold,precision,recall\nhard,0.9,1.0,0.1\nhard,0.5,,0.2\nhard,0.1,0.6,0.7\n"
    )
    return folder
