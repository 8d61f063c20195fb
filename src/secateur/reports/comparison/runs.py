"""What lies in run folders: the records of trainings, recipes, searches, evaluations, exports."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secateur.errors import InputError
from secateur.metrics.names import find_figure, ratios
from secateur.readers import number_in, read_csv_records, read_json, read_yaml
from secateur.reports.metrics_file import read_curves
from secateur.reports.plots import LayerFilters
from secateur.reports.run_report import read_layers
from secateur.schema import is_number, mapping_in, shown

Value = str | int | float | bool
Points = tuple[list[float], list[float]]
"""Horizontal and vertical positions of a curve."""

_SUMMARY, _CONFIG = "summary.json", "config.yaml"
_EVALUATIONS = ("evaluation.json", "verification.json")
_EXPORT = "export.json"
# folders of a run that hold no runs of their own
_PARTS = frozenset({"checkpoints", "plots", "wandb", "steps", "predictions", "comparison"})
_REMEDY = "restore it from a copy, or take this folder out"
# values of a record that many settings follow from
_IDENTITY = ("task", "model", "criterion", "scope", "schedule", "data")
# settings that name places or watch a run and change nothing in what comes out
_PLACES = (
    "output_dir",
    "paths",
    "resume",
    "logger",
    "callbacks",
    "trial",
    "hydra",
    "data.root",
    "print_config",
)


@dataclass(slots=True)
class Run:
    """One row of a comparison.

    Attributes:
        path: Its folder.
        kind: ``training``, ``recipe``, ``search``, ``evaluation``, ``export`` or ``unfinished``.
        record: Flat values by name, those of ``summary.json`` under their keys there.
        settings: The configuration, flat, by dotted key.
        name: Short and unique among the runs compared.
        curves: Logged values over epochs, by logged name.
        layers: Filters of each layer, empty where nothing was pruned.
        precision_recall: Recall and precision by setting of the benchmark.
        roc: False and true accept rate by name.
        picture: A page of sample pictures with boxes, or None.
    """

    path: Path
    kind: str
    record: dict[str, Value]
    settings: dict[str, Value] = field(default_factory=dict)
    name: str = ""
    curves: dict[str, Points] = field(default_factory=dict)
    layers: list[LayerFilters] = field(default_factory=list)
    precision_recall: dict[str, Points] = field(default_factory=dict)
    roc: dict[str, Points] = field(default_factory=dict)
    picture: Path | None = None

    @property
    def label(self) -> str:
        """Name and what tells the run apart, for legends."""
        parts = [self.record.get(key) for key in ("model", "criterion", "target")]
        if "target" not in self.record and "rate" in self.record and self.record.get("criterion"):
            has_rates = any(key.startswith("rates.") for key in self.record)
            parts.append("rates" if has_rates else f"{self.record['rate']:g}")
        about = "-".join(str(part) for part in parts if part)
        return self.name if about in self.name else f"{self.name} {about}"


@dataclass(frozen=True, slots=True)
class Collection:
    """What was found.

    Attributes:
        runs: The runs, by their paths.
        problems: One sentence for each folder that could not be read.
    """

    runs: list[Run]
    problems: list[str]


def collect_runs(folders: Sequence[Path]) -> Collection:
    """Find and read all runs in some folders.

    Args:
        folders: Run folders, or folders that hold some at any depth.

    Returns:
        The runs, each with a short name of its own. A folder whose files are damaged is named among
        the problems and hides no other.

    Raises:
        InputError: If a folder does not exist or none holds a run.
    """
    runs, problems, seen = [], [], set()
    for folder in folders:
        if not folder.is_dir():
            raise InputError(
                f"{folder} is no folder; give run folders or folders that hold some, such as "
                "outputs/"
            )
        for path in _run_folders(folder.resolve()):
            if path in seen:
                continue
            seen.add(path)
            try:
                run = _read_run(path)
                _check_figures(run.record, path)
                runs.append(run)
            except (OSError, ValueError, KeyError, TypeError) as error:
                what = " ".join(str(error).split())[:120]
                problems.append(f"{path} is left out, one of its files is damaged: {what}")
    if not runs and not problems:
        given = ", ".join(str(folder) for folder in folders)
        raise InputError(
            f"{given} holds no run: no summary.json, config.yaml or evaluation.json is in it or "
            "below it"
        )
    name_runs(runs)
    return Collection(runs, problems)


def differing_settings(runs: Sequence[Run]) -> list[str]:
    """Dotted keys of the configuration in which runs differ.

    Args:
        runs: Runs with their settings.

    Returns:
        Keys in alphabetical order, without those whose meaning the records hold already.
    """
    keys = sorted({key for run in runs for key in run.settings})
    known = {"data.input_size", "input_size", "seed", "rate"}
    found = []
    for key in keys:
        special = key.rpartition(".")[2].startswith("_")
        if special or key in known or key.startswith(("rates", *_PLACES)):
            continue
        # by what the record says of a run: what follows from it tells no two runs apart
        values: dict[tuple[object, ...], set[str]] = {}
        for run in runs:
            if key in run.settings:  # older runs lack what came later
                kind = tuple(run.record.get(name) for name in _IDENTITY)
                values.setdefault(kind, set()).add(repr(run.settings.get(key)))
        if any(len(one) > 1 for one in values.values()):
            found.append(key)
    return found


def name_runs(runs: Sequence[Run]) -> None:
    """Give each run the shortest end of its path that tells it from the others."""
    if not runs:
        return
    common = Path(os.path.commonpath([run.path for run in runs]))
    for run in runs:
        short = run.path.relative_to(common).as_posix()
        # outputs/NAME/STAMP: the name tells more than the stamp
        stamped = run.path.name[:2] == "20" and "_" in run.path.name
        run.name = short if short != "." else run.path.name
        if short == "." and stamped:
            run.name = run.path.parent.name


def _run_folders(folder: Path) -> Iterator[Path]:
    """All folders at or below one that hold a run; the parts of a recipe belong to it."""
    for place, children, files in os.walk(folder):
        shown = (name for name in children if not name.startswith(".") and name not in _PARTS)
        # jobs of a sweep by their numbers: 2 before 10
        children[:] = sorted(shown, key=lambda name: (name.isdecimal() * len(name), name))
        path = Path(place)
        found = set(files)
        if found & {_SUMMARY, *_EVALUATIONS, _EXPORT}:
            yield path
            if (path / "finetune").is_dir():
                children[:] = []
        elif _CONFIG in found and "metrics.csv" in found:
            yield path


def _read_run(path: Path) -> Run:
    """Read whatever is there."""
    for name in _EVALUATIONS:
        if (path / name).is_file() and not (path / _SUMMARY).is_file():
            return _read_evaluation(path, name)
    if (path / _EXPORT).is_file() and not (path / _SUMMARY).is_file():
        return Run(path, "export", flat_values(_read_json(path / _EXPORT)))
    settings = flat_values(read_settings(path / _CONFIG))
    if not (path / _SUMMARY).is_file():
        record = _record_of_settings(settings)
        return Run(path, "unfinished", record, settings, curves=_read_curves(path))
    record = flat_values(_read_json(path / _SUMMARY))
    record |= ratios(record)
    parts = path / "finetune" if (path / "finetune").is_dir() else path
    kind = "recipe" if parts is not path else "training"
    if record.get("task") == "search":
        kind = "search"
    run = Run(path, kind, record, settings, curves=_read_curves(parts))
    if (parts / "pruning.json").is_file():
        run.layers = read_layers(parts / "pruning.json")
    if (parts / "plots" / "pictures.png").is_file():
        run.picture = parts / "plots" / "pictures.png"
    # first those that the run itself wrote: its figures in the table are of the same network
    for table in (*sorted(parts.glob("*.csv")), *sorted((parts / "evaluation").glob("**/*.csv"))):
        _read_evaluation_curves(run, table)
    return run


_LARGEST = 1e18  # no figure of a network comes near it


def _check_figures(record: Mapping[str, Value], path: Path) -> None:
    """Refuse a record in which a figure is no number, before tables and plots compute with it."""
    for name, value in record.items():
        if (name == "rate" or find_figure(name)) and not is_number(value, -_LARGEST, _LARGEST):
            raise InputError(f"{name} is {shown(value)}, no number ({path})")


def _record_of_settings(settings: Mapping[str, Value]) -> dict[str, Value]:
    """What the record of a run that has not ended would begin with."""
    keys = {"task": "model.task", "model": "model.name", "criterion": "pruning.criterion"}
    keys |= {"scope": "pruning.scope", "schedule": "pruning.schedule", "data": "data.name"}
    keys |= {"rate": "rate", "seed": "seed", "input_size": "data.input_size"}
    return {name: settings[key] for name, key in keys.items() if key in settings}


def _read_curves(folder: Path) -> dict[str, Points]:
    """Curves of a training; what was measured at one epoch alone, again and again, is none.

    A run that recovers judges its epochs on held-out pictures, and measures the validation set only
    around them. Of what else was measured twice in an epoch, as given weights before the first one
    and after it, the last value counts.
    """
    curves = {}
    for name, (epochs, values) in read_curves(folder / "metrics.csv").items():
        last = dict(zip(epochs, values, strict=True))
        if len(epochs) == 1 or len(last) > 1:
            curves[name] = ([*last], [*last.values()])
    return curves


def _read_evaluation(path: Path, name: str) -> Run:
    """An evaluation; what it evaluated tells sizes and settings where that is a run."""
    found = _read_json(path / name)
    record: dict[str, Value] = {}
    source = Path(str(found.get("path", "")))
    if not (source / _SUMMARY).is_file():
        source = next((p for p in list(path.parents)[:2] if (p / _SUMMARY).is_file()), path)
    if (source / _SUMMARY).is_file() and source != path:
        whole = flat_values(_read_json(source / _SUMMARY))
        quality = ("ap_", "eer", "auc", "accuracy", "tar_", "wall_", "peak_")
        record |= {key: value for key, value in whole.items() if not key.startswith(quality)}
        record |= {k: v for k, v in ratios(whole).items() if not k.startswith(("ap_", "eer_"))}
    record |= {key: value for key, value in flat_values(found).items() if "." not in key}
    figures = found.get("ap")
    if isinstance(figures, dict):
        record |= {f"ap_{setting}": float(ap) for setting, ap in figures.items()}
    protocol = found.get("protocol")
    if isinstance(protocol, dict):
        record["protocol"] = str(protocol.get("name", ""))
    for ours, theirs in (("params_slim", "parameters"), ("params_nonzero", "nonzero_parameters")):
        if theirs in record:
            record[ours] = record.pop(theirs)
    if "model" not in record:
        record["model"] = str(found.get("name", path.name))
    for key in ("path", "root", "pictures", "coverage", "kind", "name"):
        record.pop(key, None)
    run = Run(path, "evaluation", record)
    for table in sorted(path.glob("*.csv")):
        _read_evaluation_curves(run, table)
    if (path / "plots" / "pictures.png").is_file():
        run.picture = path / "plots" / "pictures.png"
    return run


def _read_evaluation_curves(run: Run, path: Path) -> None:
    """Add the curves of an evaluation's table to a run."""
    columns = {
        "precision_recall.csv": ("recall", "precision", run.precision_recall),
        "roc.csv": ("false_accept_rate", "true_accept_rate", run.roc),
    }
    if path.name not in columns:
        return
    x, y, curves = columns[path.name]
    found: dict[str, Points] = {}
    for row in read_csv_records(path, _REMEDY):
        place, value = number_in(row.get(x) or ""), number_in(row.get(y) or "")
        if place is not None and value is not None:
            label = row.get("setting") or row.get("name") or "all pairs"
            xs, ys = found.setdefault(label, ([], []))
            xs.append(place)
            ys.append(value)
    for label, points in found.items():
        curves.setdefault(label, thin(points))


def thin(points: Points, step: float = 0.002) -> Points:
    """Leave out points that no plot of usual size can tell from the one before.

    Args:
        points: Positions in 0..1.
        step: Smallest distance to the last point kept.

    Returns:
        The points left, first and last among them.

    Example:
        >>> thin(([0.0, 0.0005, 0.5], [1.0, 1.0, 0.9]))
        ([0.0, 0.5], [1.0, 0.9])
    """
    xs, ys = points
    kept: Points = ([], [])
    for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
        last = i == len(xs) - 1
        if kept[0] and not last and abs(x - kept[0][-1]) < step and abs(y - kept[1][-1]) < step:
            continue
        kept[0].append(x)
        kept[1].append(y)
    return kept


def _read_json(path: Path) -> dict[str, object]:
    return mapping_in(read_json(path, _REMEDY), path, _REMEDY)


def read_settings(path: Path) -> dict[str, Any]:
    """The configuration of a run as plain values; empty where there is no such file."""
    if not path.is_file():
        return {}
    return mapping_in(read_yaml(path, _REMEDY), path, _REMEDY)


def flat_values(values: Mapping[str, object], prefix: str = "") -> dict[str, Value]:
    """Numbers and texts by dotted key; lists become text, what is absent or NaN is left out."""
    flat: dict[str, Value] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flat_values(value, f"{name}.")
        elif isinstance(value, list):
            flat[name] = ", ".join(map(str, value))
        elif isinstance(value, float) and not math.isfinite(value):
            continue
        elif isinstance(value, str | int | float | bool):
            flat[name] = value
    return flat
