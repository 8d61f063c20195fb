"""Evaluation of a recogniser: verify pairs, write figures and plots."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from secateur.callbacks.progress_line import build_progress
from secateur.data.face_crop import SquareCut
from secateur.deploy.description import FaceCut
from secateur.deploy.exported import ExportedNetwork, ExportedRecognizer, is_exported
from secateur.errors import InputError
from secateur.files import write_json
from secateur.metrics.embeddings import average_templates, compare_pairs
from secateur.metrics.names import label_of
from secateur.metrics.pose_protocol import PoseProtocol
from secateur.metrics.roc import histogram_of_scores
from secateur.metrics.verification import Verification, verify
from secateur.metrics.verification_metric import PairVerification
from secateur.pruning.artifact import load_slim
from secateur.recognizers.task import RecognizerTask
from secateur.reports import tables
from secateur.reports.verification_plots import plot_det, plot_roc, plot_score_histogram, write_roc
from secateur.schema import is_count
from secateur.workflows.build import build_data, build_network, instantiate
from secateur.workflows.config.saved_config import (
    read_saved_config,
    saved_data,
    saved_model,
    saved_task,
)
from secateur.workflows.loading import count, load_network, run_name
from secateur.workflows.own_networks import builders
from secateur.workflows.tracking.wandb_run import log_evaluation

log = logging.getLogger(__name__)

RECORD = "verification.json"


def names_recognizer(config: DictConfig) -> bool:
    """Whether the configuration is about a recogniser: its run's, or else its model's."""
    if config.predictions is not None:
        return False
    if config.run is not None:
        path = Path(str(config.run)) / "config.yaml"
        return path.is_file() and saved_task(path) == "recognition"
    if config.weights is not None and is_exported(Path(str(config.weights))):
        return load_network(Path(str(config.weights))).task == "recognition"
    return bool(config.model.task == "recognition")


def evaluate_recognizer(config: DictConfig) -> float:
    """Verify the pairs of the configuration, or those that a run was validated on.

    Args:
        config: Composed ``conf/evaluate.yaml`` that names a recogniser.

    Returns:
        The equal error rate.

    Raises:
        InputError: If something is missing, malformed or contradictory.
    """
    if (config.run is None) == (config.weights is None):
        raise InputError("say which recogniser to evaluate, as run=FOLDER or as weights=FILE")
    network, settings, name = _from_run(config) if config.run else _from_weights(config)
    data = build_data(settings)
    data.prepare_data()
    data.setup("validate")
    log.info("%s", data.describe())
    task = instantiate(settings.model.lightning, network=network)()
    shows = bool(config.trainer.enable_progress_bar)
    trainer = pl.Trainer(
        accelerator=config.trainer.accelerator,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=shows,
        callbacks=[build_progress(validates=name)] if shows else [],
        use_distributed_sampler=False,
    )
    trainer.validate(task, datamodule=data, verbose=False)
    metric: PairVerification = task.verification
    found = metric.verification()
    if found is None:
        raise InputError(f"{data.describe()}: too few pictures to verify a pair of each kind")
    record: dict[str, Any] = {
        "name": name,
        "model": str(settings.model.name),
        "data": str(settings.data.name),
        "pairs": len(data.pairs),
        **count(network),
        **found.record(),
        "unsupported": found.unsupported,
        "thresholds": found.thresholds(),
    }
    protocols: dict[int, PoseProtocol] = getattr(data, "protocols", {})
    templates = verify_templates(metric, protocols)
    if templates:
        record["templates"] = [
            {"size": size, "poses": list(poses), **result.record()}
            for (size, poses), result in templates.items()
        ]
    folder = _folder(config, name)
    _write(folder, metric, found, record)
    for size in protocols:
        curves = {
            " / ".join(poses): result.roc
            for (of_size, poses), result in templates.items()
            if of_size == size
        }
        title = f"Templates of {size}"
        plot_roc(folder / "plots" / f"roc-templates-{size}.png", curves, title=title)
        plot_det(folder / "plots" / f"det-templates-{size}.png", curves, title=title)
    log_evaluation(config, folder, record)
    _print(record)
    log.info("evaluation: %s", folder)
    return found.eer


def verify_templates(
    metric: PairVerification, protocols: Mapping[int, PoseProtocol]
) -> dict[tuple[int, tuple[str, str]], Verification]:
    """Compare templates of poses.

    Args:
        metric: Holds the embeddings of all pictures.
        protocols: Templates and comparisons for each number of pictures in a template.

    Returns:
        Figures for each number of pictures and two poses.

    Raises:
        InputError: If a picture has not been embedded.
    """
    found = {}
    rows, images = metric.embedded()
    for size, protocol in protocols.items():
        members = torch.tensor(protocol.templates)
        if len(images) <= int(members.max()):
            raise InputError("templates need every picture: leave trainer.limit_val_batches out")
        sizes = torch.full((len(members),), size)
        means = average_templates(rows, members.flatten(), sizes)
        for poses, pairs in protocol.comparisons.items():
            first, second = torch.from_numpy(pairs.first), torch.from_numpy(pairs.second)
            scores = compare_pairs(means, first.to(means.device), second.to(means.device))
            found[size, poses] = verify(scores.cpu().numpy(), pairs.same)
    return found


def _from_run(config: DictConfig) -> tuple[nn.Module, DictConfig, str]:
    """The slim network of a run; without data.root also its data."""
    folder = Path(str(config.run))
    network = load_slim(folder, builders())
    path = folder / "config.yaml"
    saved = read_saved_config(path)
    own = config.data.get("root") is not None and "pairs" in config.data
    settings = OmegaConf.create(
        {
            "model": saved_model(saved, path),
            "data": _resolved(config.data) if own else saved_data(saved, path),
            "seed": saved["seed"] if is_count(saved.get("seed")) else config.seed,
        }
    )
    return network, settings, run_name(folder)


def _from_weights(config: DictConfig) -> tuple[nn.Module, DictConfig, str]:
    """The dense network of weights."""
    path = Path(str(config.weights))
    if is_exported(path):
        loaded = load_network(path)
        if loaded.task != "recognition":
            raise InputError(f"weights={path} is no recognizer: leave model= out to evaluate it")
        assert isinstance(loaded.network, ExportedNetwork)
        assert loaded.cut is not None
        task = f"{RecognizerTask.__module__}.{RecognizerTask.__qualname__}"
        lightning = {"_target_": task, "_partial_": True, "flip": loaded.cut.flip}
        model = {"name": str(loaded.about["model"]), "lightning": lightning}
        data = _cut_for(config.data, loaded.cut)
        settings = OmegaConf.create({"model": model, "data": data, "seed": config.seed})
        return ExportedRecognizer(loaded.network), settings, loaded.name
    network, _ = build_network(config)
    return network.eval(), config, f"{config.model.name}-{Path(str(config.weights)).stem}"


def _cut_for(data: DictConfig, cut: FaceCut) -> DictConfig:
    """Data cut as an exported file wants it, which takes no other size."""
    settings = _resolved(data)
    settings.input_size = cut.side
    if SquareCut(cut.side).side != cut.shorter_side:
        settings.shorter_side = cut.shorter_side
    if "centre" in settings:
        settings.centre = cut.center
    return settings


def _resolved(part: DictConfig) -> DictConfig:
    """A part of the configuration that can stand without the rest."""
    return cast("DictConfig", OmegaConf.create(OmegaConf.to_container(part, resolve=True)))


def _folder(config: DictConfig, name: str) -> Path:
    if config.output_dir is not None:
        return Path(str(config.output_dir))
    if config.run is not None:
        return Path(str(config.run)) / "evaluation"
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return Path(str(config.paths.outputs)) / f"evaluate-{name}" / stamp


def _write(
    folder: Path, metric: PairVerification, found: Verification, record: dict[str, Any]
) -> None:
    """Figures and plots."""
    folder.mkdir(parents=True, exist_ok=True)
    name = str(record["name"])
    plot_roc(folder / "plots" / "roc.png", {name: found.roc}, title="Verification")
    plot_det(folder / "plots" / "det.png", {name: found.roc}, title="Verification")
    scores, present = metric.pair_scores()
    histogram = histogram_of_scores(scores.cpu().numpy(), metric.same[present].cpu().numpy())
    path = folder / "plots" / "scores.png"
    plot_score_histogram(path, histogram, title="Scores of pairs", threshold=found.eer_threshold)
    write_roc(folder / "roc.csv", found.roc)
    write_json(folder / RECORD, record)


def _print(record: dict[str, Any]) -> None:
    """The figures, and why some are absent."""
    figures = {key: value for key, value in record.items() if isinstance(value, float)}
    rows = [[label_of(key), f"{value:.4f}"] for key, value in figures.items()]
    rows += [[label_of(key), "too few pairs"] for key in record["unsupported"]]
    title = f"{record['name']} · {record['data']} · {record['pairs']:,} pairs"
    tables.print_table(title, ["", "value"], rows)
    names = ("eer", "auc", "tar_at_far_1e-2", "tar_at_far_1e-3")
    rows = [
        [str(one["size"]), " / ".join(one["poses"])]
        + [f"{one[name]:.4f}" if name in one else "too few pairs" for name in names]
        for one in record.get("templates", [])
    ]
    if rows:
        tables.print_table("Templates", ["pictures", "poses", *map(label_of, names)], rows)
