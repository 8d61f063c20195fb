"""Sensitivity of every layer and group: configuration -> curves, a table and a CSV file."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence

import torch
from omegaconf import DictConfig
from rich.progress import track
from torch import nn

from secateur.data.augmentation import FaceAugmentation
from secateur.data.face_dataset import FaceDataset
from secateur.errors import InputError
from secateur.pruning.pruner import Pruner
from secateur.pruning.sensitivity import SensitivityPoint, measure_sensitivity
from secateur.reports.files import atomic_write
from secateur.reports.sensitivity_plots import plot_sensitivity
from secateur.reports.tables import print_table
from secateur.search.drawn_batches import DrawnBatches
from secateur.search.face_quality import HeldOutLoss
from secateur.search.recalibration import recalibrate
from secateur.workflows.build import build_data, build_network, excluded_layers, pruning_groups
from secateur.workflows.run_folder import RunFolder, open_run_folder

log = logging.getLogger(__name__)

TRACE_SIZE = 128  # pixels; which batch norm follows a layer does not depend on the picture


def sensitivity(config: DictConfig) -> None:
    """Prune each layer and group alone at several rates and draw what becomes of the loss.

    Args:
        config: Composed ``conf/sensitivity.yaml``.

    Raises:
        InputError: If the model is no detector or a rate is out of range.
    """
    if config.model.task != "detection":
        raise InputError(f"search.py knows detectors only, and {config.model.name} is none")
    rates = [float(rate) for rate in config.rates]
    if not rates or not all(0 < rate < 1 for rate in rates):
        raise InputError(f"rates must lie above 0 and below 1, got {rates}")
    run = open_run_folder(config, f"{config.model.name}-sensitivity-{config.pruning.criterion}")
    log.info("run folder: %s", run.path)
    torch.manual_seed(int(config.seed))
    network, _ = build_network(config)
    network.to(memory_format=torch.channels_last)
    network.eval()
    pruner = Pruner(
        network,
        (torch.zeros(1, 3, TRACE_SIZE, TRACE_SIZE),),
        criterion=str(config.pruning.criterion),
        rate=0.0,
        groups=pruning_groups(config),
        exclude=excluded_layers(config),
        mask_batchnorm=bool(config.pruning.mask_batchnorm),
        seed=int(config.seed),
    )
    parts: dict[str, Sequence[str]] = {g: names for g, names in pruner.groups.items() if names}
    groups = list(parts)
    parts |= {name: [name] for name in pruner.layers}
    points = list(
        track(
            measure_sensitivity(pruner, parts, rates, Quality(config)),
            description="sensitivity",
            total=1 + len(parts) * len(rates),
            disable=not config.progress,
        )
    )
    write(run, points, groups)


class Quality:
    """Minus the loss on held-out pictures, with batch norms re-estimated if so configured."""

    def __init__(self, config: DictConfig) -> None:
        data = build_data(config)
        data.prepare_data()
        data.setup("fit")
        log.info("%s", data.describe())
        size, seed = int(config.batch_size), int(config.seed)
        held_out = data.holdout_pictures()
        if not len(held_out):
            raise InputError("sensitivity is judged on held-out pictures: set holdout above 0")
        judged = FaceDataset(
            held_out.folder,
            held_out.annotations,
            FaceAugmentation(int(config.search_size)),
            seed + 1,
        )
        self.loss = HeldOutLoss(list(DrawnBatches(judged, int(config.batches), size, seed)))
        calibration = DrawnBatches(
            data.training_pictures(), int(config.calibration_batches), size, seed
        )
        self.images = [images for images, _ in calibration]

    def __call__(self, network: nn.Module) -> float:
        """Quality of a masked network; its batch norms may change."""
        if self.images:
            recalibrate(network, self.images)
        return self.loss(network)


def write(run: RunFolder, points: Sequence[SensitivityPoint], groups: Sequence[str]) -> None:
    """Write ``sensitivity.csv`` and the plots, and print the groups."""
    start = points[0].quality
    curves: dict[str, list[tuple[float, float]]] = {}
    for point in points[1:]:
        curves.setdefault(point.part, []).append((point.rate, point.quality))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["part", "kind", "rate", "sparsity", "loss"])
    for point in points:
        kind = "" if not point.part else "group" if point.part in groups else "layer"
        writer.writerow([point.part, kind, point.rate, point.sparsity, -point.quality])
    atomic_write(run.path / "sensitivity.csv", text.getvalue())
    plots = run.path / "plots"
    plots.mkdir(exist_ok=True)
    for name, chosen in (("groups", groups), ("layers", [c for c in curves if c not in groups])):
        if chosen:
            plot_sensitivity(
                plots / f"sensitivity_{name}.png",
                {part: [(r, -q) for r, q in curves[part]] for part in chosen},
                -start,
                title=f"Loss with one of the {name} pruned, without training",
                quantity="held-out loss",
            )
    rates = [rate for rate, _ in next(iter(curves.values()))]
    rows = [
        [part, *(f"{start - quality:+.3f}" for _, quality in curves[part])]
        for part in (groups or list(curves))
    ]
    print_table(
        f"Change of the held-out loss of {-start:.3f}",
        ["group" if groups else "layer", *(f"{rate:.0%}" for rate in rates)],
        rows,
    )
    log.info("run folder: %s", run.path)
