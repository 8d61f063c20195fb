"""What ``recover=`` adds to a run that prunes: repair and, from weights, teacher and average."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor, nn

from secateur.callbacks.averaged_weights import AveragedWeights
from secateur.callbacks.soft_pruning import Repair, SoftPruningCallback
from secateur.deploy.exported import is_exported
from secateur.detectors.detection import is_detector
from secateur.errors import InputError
from secateur.pruning.artifact import load_slim
from secateur.pruning.layers import match_layers
from secateur.weights.recognizer_weights import is_imagenet
from secateur.workflows.build import build_network
from secateur.workflows.config.pruning_config import excluded_layers
from secateur.workflows.loading import load_network
from secateur.workflows.own_networks import builders

log = logging.getLogger(__name__)

MONITOR = "holdout/ap_mean"

_PIXELS_AT_ONCE = 1 << 20  # small pictures go through a network many at a time


def recovers(config: DictConfig) -> bool:
    """Whether a run recovers: it starts from weights, and prunes them or is given a teacher."""
    recover = config.get("recover")
    return (
        recover is not None
        and bool(recover.reconstruct or recover.distill)
        and (config.pruning.criterion is not None or _is_taught(config))
        and config.weights is not None
        and not is_imagenet(config.weights)
    )


def _is_taught(config: DictConfig) -> bool:
    """Whether the run is given a teacher of its own."""
    return bool(config.recover.distill) and config.recover.get("teacher") is not None


def reconstructs(config: DictConfig) -> bool:
    """Whether layers are refitted: to the given weights, from scratch to those before a mask."""
    recover = config.get("recover")
    return (
        recover is not None and bool(recover.reconstruct) and config.pruning.criterion is not None
    )


def resolve_recovery(config: DictConfig) -> DictConfig:
    """Write out what recovery means for phases, data, optimizer and trainer.

    Args:
        config: With ``recover``; changed in place where the user has said nothing else.
    """
    with open_dict(config):
        phases = config.phases.pop("recovering", None)
        if not recovers(config):
            if config.get("recover") is not None:
                refit = {"pictures": config.recover.pictures} if reconstructs(config) else {}
                config.recover = {"reconstruct": bool(refit), "distill": False, **refit}
            return config
        recover = config.recover
        if phases:
            config.phases = OmegaConf.merge(config.phases, phases)
            if config.pruning.criterion is None:  # all epochs are as those with the mask held
                config.phases.dense_epochs = config.phases.prune_epochs + phases.finetune_epochs
        if config.optimizer.lr is None:
            config.optimizer.lr = recover.lr
        config.optimizer.weight_decay = recover.weight_decay
        if config.trainer.get("gradient_clip_val") is None:
            config.trainer.gradient_clip_val = recover.clip
        # what scores filters by their training has seen none of it before the first epoch
        unseen = (
            str(config.pruning.criterion).startswith("taylor") and not config.phases.dense_epochs
        )
        config.pruning.mask_first = bool(recover.mask_first) and not unseen
        if config.model.task == "detection":
            if not config.data.get("holdout"):
                config.data.holdout = recover.holdout
            config.data.validate_on_holdout = True
            augmentation = config.data.get("augmentation") or {}
            # A model with an augmentation of its own keeps it.
            if augmentation.get("views") is None and "augmentation" not in config.model:
                config.data.augmentation = OmegaConf.merge(augmentation, {"views": recover.views})
    return config


def build_teacher(config: DictConfig, network: nn.Module) -> nn.Module | None:
    """The network that a run learns from.

    Args:
        config: Of the run.
        network: As given in ``weights=``, before anything is masked.

    Raises:
        InputError: If ``recover.teacher`` is neither weights of a detector (of the model, for
            recognizers) nor a finished run, or does another task, or there is none and some
            training pictures teach only with one.
    """
    if not recovers(config) or not config.recover.distill:
        for key in ("unlabelled", "conventions"):
            if config.data.get(key):
                raise InputError(
                    f"data.{key} needs a teacher, and this run has none: prune a network given in "
                    f"weights=FILE under recover=distill, or leave data.{key} out"
                )
        return None
    wanted = config.recover.teacher
    if wanted is None:
        return copy.deepcopy(network).eval()
    teacher = _load_teacher(config, Path(str(wanted))).eval()
    _check_task(config, network, teacher)
    return teacher


def _load_teacher(config: DictConfig, path: Path) -> nn.Module:
    """The network of a finished run, or of weights.

    Raises:
        InputError: If there is none.
    """
    if path.is_dir():
        return load_slim(path, builders(config))
    if not path.exists():
        raise InputError(
            f"recover.teacher={path} does not exist: give weights of {config.model.name}, the "
            "folder of a finished run, or null for the network of weights="
        )
    if is_exported(path):
        raise InputError(
            f"recover.teacher={path} is an exported file, which cannot teach: give the weights or "
            "the run that it was exported from"
        )
    try:
        return build_network(_with_weights(config, path))[0]
    except InputError:
        if config.model.task == "detection" and (other := _other_detector(path)) is not None:
            return other
        raise


def _check_task(config: DictConfig, network: nn.Module, teacher: nn.Module) -> None:
    """Refuse a teacher of another task before the data are read.

    Raises:
        InputError: If a detector is to learn from a recognizer, or a recognizer from a detector or
            from embeddings of another size.
    """
    named = f"recover.teacher={config.recover.teacher}"
    detects = config.model.task == "detection"
    if is_detector(teacher) != detects:
        raise InputError(
            f"{named} is no {'detector' if detects else 'recognizer'}: a teacher does what "
            f"{config.model.name} learns, so give weights or the run of one"
        )
    if not detects:
        picture = torch.zeros(1, 3, config.data.input_size, config.data.input_size)
        sizes = [_embedding_size(each, picture) for each in (network, teacher)]
        if sizes[0] != sizes[1]:
            raise InputError(
                f"{named} has embeddings of {sizes[1]} numbers, those of {config.model.name} have "
                f"{sizes[0]}: give a teacher whose embeddings have as many"
            )


@torch.no_grad()
def _embedding_size(network: nn.Module, picture: Tensor) -> int:
    """Numbers in an embedding; the network's mode stays as it is."""
    return int(copy.deepcopy(network).eval()(picture).shape[1])


def _with_weights(config: DictConfig, path: Path) -> DictConfig:
    """The same configuration with other weights."""
    other = config.copy()
    with open_dict(other):
        other.weights = str(path)
    return other


def _other_detector(path: Path) -> nn.Module | None:
    """The detector whose weights a file holds, of whatever model; None for anything else."""
    try:
        loaded = load_network(path)
    except InputError:
        return None
    return cast("nn.Module", loaded.network) if loaded.task == "detection" else None


def build_repair(config: DictConfig, network: nn.Module, data: Any) -> Repair | None:
    """How the network is mended after masking.

    Args:
        config: Of the run.
        network: As given in ``weights=``, before anything is masked; from scratch there is nothing
            to match but what training has made of the network by each masking.
        data: Datamodule, set up.
    """
    if not hasattr(data, "recovery_pictures"):
        return None
    refits = reconstructs(config)
    count = int(config.recover.pictures) if refits else 8

    def pictures() -> list[Tensor]:
        images = data.recovery_pictures(count)
        most = max(4, _PIXELS_AT_ONCE // images[0, 0].numel())
        size = next(size for size in range(most, 0, -1) if len(images) % size == 0)
        return list(images.split(size))

    since = 2 if config.model.task == "recognition" else 1
    if refits and not recovers(config):
        # heads too: no teacher holds them in place
        return Repair(pictures, refit=True, since=since)
    dense = copy.deepcopy(network).eval() if refits else None
    return Repair(pictures, refits, dense, excluded_layers(config), since)


def build_average(
    config: DictConfig, network: nn.Module, pruning: SoftPruningCallback | None
) -> AveragedWeights | None:
    """The average of the weights that is validated and kept, if the run has one."""
    if not recovers(config) or not config.recover.average:
        return None
    monitor = MONITOR if config.model.task == "detection" else None
    return AveragedWeights(network, pruning, float(config.recover.average), monitor)


def freeze(config: DictConfig, network: nn.Module) -> None:
    """Take the gradient of what ``recover.freeze`` names.

    Raises:
        InputError: If a pattern fits nothing.
    """
    if not recovers(config):
        return
    names = [name for name, _ in network.named_parameters()]
    for pattern in config.recover.freeze:
        for name in match_layers(str(pattern), names, "recover.freeze"):
            network.get_parameter(name).requires_grad_(False)


def stage_networks(network: nn.Module, pruning: SoftPruningCallback | None) -> dict[str, nn.Module]:
    """The network as it was right after masking and after reconstruction, by stage."""
    networks = {}
    for stage, state in (pruning.states if pruning is not None else {}).items():
        networks[stage] = copy.deepcopy(network)
        with torch.no_grad():
            networks[stage].load_state_dict(state)
    return networks
