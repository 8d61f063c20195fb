"""Sensitivity of every layer and group: configuration -> curves, a table and a CSV file."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import replace

from omegaconf import DictConfig

from secateur.errors import InputError
from secateur.files import atomic_write
from secateur.pruning.sensitivity import (
    SensitivityPoint,
    layers_that_prune_alone,
    measure_sensitivity,
)
from secateur.reports.progress import Progress
from secateur.reports.sensitivity_plots import plot_sensitivity, plot_sensitivity_map
from secateur.reports.tables import print_table
from secateur.workflows.run_folder import RunFolder, open_run_folder
from secateur.workflows.search.layer_allocation import allocate, wanted_sizes
from secateur.workflows.search.trial_setup import (
    build_evaluator,
    build_pruner,
    resolve_search_config,
)

log = logging.getLogger(__name__)

_FIGURES = {
    "loss": "loss",
    "ap": "1 - AP",
    "verification": "EER",
    "distillation": "distance from the dense network",
}


def sensitivity(config: DictConfig) -> None:
    """Prune each layer and group alone at several rates and draw what becomes of it.

    Args:
        config: Composed ``conf/sensitivity.yaml``.

    Raises:
        InputError: If a rate is out of range or something does not suit the model.
    """
    config = resolve_search_config(config)
    rates = [float(rate) for rate in config.try_rates]
    if not rates or not all(0 < rate < 1 for rate in rates):
        raise InputError(f"try_rates must lie above 0 and below 1, got {rates}")
    targets = wanted_sizes(config)
    run = open_run_folder(config, f"{config.model.name}-sensitivity-{config.pruning.criterion}")
    log.info("run folder: %s", run.path)
    if targets:  # a pruner knows one size at most, and here rates are tried as they are
        config = config.copy()
        config.target = None
    pruner = build_pruner(config)
    # Rates of single layers need no curves of groups, which take as long.
    parts: dict[str, Sequence[str]] = {
        g: names for g, names in pruner.groups.items() if names and not targets
    }
    groups = list(parts)
    layers = layers_that_prune_alone(pruner)
    parts |= layers
    points: list[SensitivityPoint] = []
    total = 1 + len(parts) * len(rates)
    with Progress("sensitivity", total, shown=bool(config.progress)) as progress:
        for point in measure_sensitivity(
            pruner, parts, rates, build_evaluator(config, pruner.model)
        ):
            points.append(point)
            progress.advance()
    write(run, points, groups, _FIGURES[str(config.objective.kind)])
    if targets:
        allocate(config, pruner, points, targets, layers, run.path / "rates.yaml")


def write(
    run: RunFolder, points: Sequence[SensitivityPoint], groups: Sequence[str], figure: str
) -> None:
    """Write ``sensitivity.csv`` and the plots of a figure that pruning raises; print the groups."""
    points = [replace(point, quality=point.quality - (figure == "1 - AP")) for point in points]
    start = points[0].quality
    curves: dict[str, list[tuple[float, float]]] = {}
    for point in points[1:]:
        curves.setdefault(point.part, []).append((point.rate, point.quality))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["part", "kind", "rate", "sparsity", figure])
    for point in points:
        kind = "" if not point.part else "group" if point.part in groups else "layer"
        writer.writerow([point.part, kind, point.rate, point.sparsity, -point.quality])
    atomic_write(run.path / "sensitivity.csv", text.getvalue())
    plots = run.path / "plots"
    plots.mkdir(exist_ok=True)
    for name, chosen in (("groups", groups), ("layers", [c for c in curves if c not in groups])):
        losses = {part: [(rate, -quality) for rate, quality in curves[part]] for part in chosen}
        about = {
            "title": f"Held-out {figure} with one of the {name} pruned, without training",
            "quantity": f"held-out {figure}",
        }
        if chosen:
            plot_sensitivity(plots / f"sensitivity_{name}.png", losses, -start, **about)
            plot_sensitivity_map(plots / f"sensitivity_{name}_map.png", losses, -start, **about)
    rates = [rate for rate, _ in next(iter(curves.values()))]
    rows = [
        [part, *(f"{start - quality:+.3f}" for _, quality in curves[part])]
        for part in (groups or list(curves))
    ]
    print_table(
        f"Change of the held-out {figure} of {-start:.3f}",
        ["group" if groups else "layer", *(f"{rate:.0%}" for rate in rates)],
        rows,
    )
    log.info("run folder: %s", run.path)
