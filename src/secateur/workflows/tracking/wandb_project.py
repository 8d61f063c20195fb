"""Runs of a Weights & Biases project as rows of a comparison."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.errors import InputError
from secateur.metrics.names import find_figure, ratios
from secateur.reports.comparison.runs import Points, Run, Value, flat_values


def fetch_runs(project: str, api: Any = None) -> list[Run]:
    """Read the runs of a project.

    Args:
        project: ``ENTITY/PROJECT``.
        api: What answers; None makes a client of the account of this machine.

    Returns:
        One run each, with its summary, configuration and curves.

    Raises:
        InputError: If the package is missing or the project cannot be read.
    """
    if api is None and importlib.util.find_spec("wandb") is None:
        raise InputError("wandb= needs the package wandb: pip install 'secateur[wandb]'")
    try:
        if api is None:
            import wandb

            api = wandb.Api()
        return [_read_run(run) for run in api.runs(project)]
    except Exception as error:  # the client raises several kinds, its own and those of requests
        what = " ".join(str(error).split())[:200]
        raise InputError(
            f"wandb={project} cannot be read ({what}); is it ENTITY/PROJECT, and are you logged in "
            "(wandb login)"
        ) from error


def _read_run(run: Any) -> Run:
    summary = flat_values({k: v for k, v in dict(run.summary).items() if not k.startswith("_")})
    settings = flat_values(dict(run.config))
    record: dict[str, Value] = {}
    for key, value in summary.items():
        if key.startswith("final/"):
            record[key.removeprefix("final/")] = value
        elif "/" not in key or find_figure(key) is None:
            record.setdefault(key, value)
    record |= ratios(record)
    names = {"model": "model.name", "criterion": "pruning.criterion", "data": "data.name"}
    for name, key in names.items():
        if name not in record and key in settings:
            record[name] = settings[key]
    kind = str(getattr(run, "job_type", None) or "training").replace("train", "training", 1)
    kind = "training" if kind.startswith("training") else kind
    return Run(Path(str(run.url)), kind, record, settings, name=str(run.name), curves=_curves(run))


def _curves(run: Any) -> dict[str, Points]:
    """Logged values over epochs."""
    curves: dict[str, Points] = {}
    row: Mapping[str, Any]
    for row in run.scan_history():
        epoch = row.get("epoch")
        if epoch is None:
            continue
        for name, value in row.items():
            if isinstance(value, int | float) and name.startswith(("val/", "train/")):
                xs, ys = curves.setdefault(name, ([], []))
                xs.append(float(epoch))
                ys.append(float(value))
    return curves
