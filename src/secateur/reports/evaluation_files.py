"""evaluation.json, the precision-recall curves and the page of pictures of an evaluation."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.data.images import read_image
from secateur.files import atomic_write, write_json
from secateur.metrics.wider_face import N_THRESHOLDS, SETTINGS, Evaluation
from secateur.readers import read_json
from secateur.reports.pictures import MatchedPicture, match_detections, write_page
from secateur.reports.plots import plot_precision_recall
from secateur.schema import Fields

RECORD = "evaluation.json"

Record = dict[str, Any]


def evaluation_record(evaluation: Evaluation, about: Mapping[str, Any]) -> Record:
    """The content of ``evaluation.json``.

    Args:
        evaluation: Result of the metric.
        about: What was evaluated, on what and how; comes first.

    Returns:
        Plain values; ``ap`` holds the average precision of each setting.
    """
    return {
        **about,
        "ap": {name: result.ap for name, result in evaluation.settings.items()},
        "settings": {
            name: {
                "ap": result.ap,
                "faces": result.n_faces,
                "pictures": result.n_pictures,
                "events": result.event_ap,
            }
            for name, result in evaluation.settings.items()
        },
        "n_predictions": evaluation.n_predictions,
        "missing": list(evaluation.missing),
    }


def write_evaluation(folder: Path, evaluation: Evaluation, record: Record) -> None:
    """Write curves and record into a folder, the record last.

    Args:
        folder: Made if need be.
        evaluation: Result of the metric.
        record: As of ``evaluation_record``.
    """
    curves = {name: (result.curve, result.ap) for name, result in evaluation.settings.items()}
    write_curves(folder, curves, title=str(record["name"]))
    write_json(folder / RECORD, record)


def write_curves(
    folder: Path, curves: Mapping[str, tuple[NDArray[np.float64], float]], *, title: str
) -> None:
    """Write precision and recall as a table and as a plot.

    Args:
        folder: Gets ``precision_recall.csv`` and ``plots/precision_recall.png``.
        curves: For each setting its ``(1000, 2)`` precision and recall and its average precision.
        title: Title of the plot.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["setting", "threshold", "precision", "recall"])
    for name, (curve, _) in curves.items():
        for t, (precision, recall) in enumerate(curve.tolist(), start=1):
            shown = "" if math.isnan(precision) else repr(precision)
            writer.writerow([name, f"{1 - t / N_THRESHOLDS:.3f}", shown, repr(recall)])
    atomic_write(folder / "precision_recall.csv", table.getvalue())
    plot_precision_recall(folder / "plots" / "precision_recall.png", curves, title=title)


def write_pictures(
    folder: Path,
    images: Path,
    predictions: Mapping[str, NDArray[np.float64]],
    faces: Mapping[str, NDArray[np.float64]],
    evaluated: Mapping[str, Mapping[str, NDArray[np.bool_]]],
    *,
    count: int,
    min_score: float,
    title: str,
) -> list[MatchedPicture]:
    """Draw hits, misses and false alarms on some pictures, spread evenly over the set.

    Args:
        folder: Folder of the evaluation.
        images: Folder of the pictures.
        predictions: (P, 5) x, y, width, height, score by picture.
        faces: (G, 4) x, y, width, height by picture.
        evaluated: Settings of each picture with their masks; the widest of them is drawn.
        count: Pictures on the page.
        min_score: Predictions with a lower score are left out.
        title: Title of the page.

    Returns:
        The pictures on the page ``plots/pictures.png``, which is not written without any.
    """
    names = list(faces)
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, count).astype(int))]
    pictures = [
        match_detections(
            read_image(images / name),
            predictions.get(name, np.empty((0, 5))),
            faces[name],
            _widest(evaluated[name]),
            title=name.rpartition("/")[2],
            min_score=min_score,
        )
        for name in chosen[:count]
    ]
    if pictures:
        write_page(folder / "plots" / "pictures.png", pictures, title=title)
    return pictures


def read_record(folder: Path) -> Record:
    """Read the record of an evaluation.

    Raises:
        InputError: If it is not there or no record.
    """
    path = folder / RECORD
    remedy = "evaluate again to rewrite it"
    record = Fields(read_json(path, remedy), path, remedy)
    for name in record.fields("ap").values:
        record.fields("ap").number(name, 0, 1)
    for name in record.fields("settings").values:
        setting = record.fields("settings").fields(name)
        setting.number("ap", 0, 1)
        setting.count("faces")
        setting.count("pictures")
    record.text("name")
    for name in ("parameters", "nonzero_parameters", "sparsity", "seconds_per_picture"):
        if record.values.get(name) is not None:
            record.number(name, 0)
    for name in ("missing", "unknown"):
        if record.values.get(name) is not None:
            fits = all(isinstance(item, str) for item in record.items(name))
            record.check(fits, name, "a list of names")
    if record.values.get("protocol") is not None:
        record.fields("protocol")
    return record.values


def _widest(masks: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_] | None:
    """The mask of the hardest setting of a picture; its later settings include the earlier."""
    present: Sequence[str] = [setting for setting in SETTINGS if setting in masks]
    return masks[present[-1]] if present else None
