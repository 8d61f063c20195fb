"""WIDER FACE metric against the published Python tool: ``python -m benchmarks evaluation``.

Needs SECATEUR_REFERENCE with the golden evaluation sets and the official ground truth. The
published tool's seconds are those of the golden results, measured on a machine of the same kind.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secateur.data.ground_truth import OFFICIAL_SETTINGS, read_ground_truth
from secateur.metrics.predictions import read_predictions, write_predictions
from secateur.metrics.wider_face import Evaluation, evaluate_wider_face
from secateur.reports.tables import print_table

SETS = ("A_good", "B_medium")
REPEATS = 5


def main() -> None:
    """Print seconds and ratios, arrays in memory and text files."""
    reference = os.environ.get("SECATEUR_REFERENCE")
    if not reference:
        print("evaluation: left out, SECATEUR_REFERENCE is not set")
        return
    golden = Path(reference) / "golden" / "eval"
    truth = read_ground_truth(Path(reference) / "data" / "widerface_mini" / "ground_truth")
    evaluated = {
        name: dict(zip(OFFICIAL_SETTINGS, masks, strict=True))
        for name, masks in truth.evaluated.items()
    }
    results = json.loads((golden / "results.json").read_text())
    rows = []
    for name in SETS:
        if not (golden / f"{name}_preds.npz").exists():
            continue
        boxes = read_golden(golden / f"{name}_preds.npz", list(truth.boxes))

        def score(boxes: dict[str, NDArray[np.float64]] = boxes) -> Evaluation:
            return evaluate_wider_face(boxes, truth.boxes, evaluated)

        with tempfile.TemporaryDirectory() as folder:
            write_predictions(Path(folder), boxes)

            def score_files(folder: str = folder) -> Evaluation:
                found = read_predictions(Path(folder), truth.boxes).boxes
                return evaluate_wider_face(found, truth.boxes, evaluated)

            seconds = [median_seconds(score), median_seconds(score_files)]
        official = results[name]["official"]
        error = max(abs(score().settings[s].ap - official[s]) for s in OFFICIAL_SETTINGS)
        published = results[name]["upstream_seconds"]
        rows.append(
            [
                name,
                f"{sum(map(len, boxes.values())):,}",
                f"{published:.1f} s",
                *(f"{s:.2f} s ({published / s:.0f}x)" for s in seconds),
                f"{error:.0e}",
            ]
        )
    heads = ["set", "boxes", "published", "arrays", "text files", "AP off by"]
    print_table("WIDER FACE metric, 3,226 pictures, one thread", heads, rows)


def read_golden(path: Path, names: list[str]) -> dict[str, NDArray[np.float64]]:
    """Predictions of each picture that has some."""
    with np.load(path) as file:
        boxes, offsets = file["boxes"].astype(np.float64), file["offsets"]
        missing = set(file["missing"].tolist()) if "missing" in file.files else set()
    return {
        name: boxes[offsets[i] : offsets[i + 1]] for i, name in enumerate(names) if i not in missing
    }


def median_seconds(function: Callable[[], object]) -> float:
    """Median processor time of some calls after one to warm up; a busy machine stretches others."""
    function()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return statistics.median(times)


if __name__ == "__main__":
    main()
