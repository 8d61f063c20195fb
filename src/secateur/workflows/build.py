"""From configuration nodes to objects."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra.utils
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from torch import nn

from secateur.described_network import Builders
from secateur.errors import InputError
from secateur.pruning.artifact import is_slim, load_slim, read_slim_architecture
from secateur.schema import is_count
from secateur.weights.dense import read_architecture
from secateur.weights.detector_weights import identify, load_weights, read_weights
from secateur.weights.recognizer_weights import fetch_imagenet, head_weights, is_imagenet
from secateur.weights.recognizer_weights import load_weights as load_recognizer
from secateur.workflows.config.addresses import current_address, with_addresses
from secateur.workflows.config.pruning_config import with_rates_file
from secateur.workflows.own_networks import architecture_name, builders

log = logging.getLogger(__name__)

# A width shows in the shapes of the tensors; these do not, so a wrong value would go unnoticed.
_SET_BY_WEIGHTS = {"topology", "anchor_ratio"}
_SOME_STEPS = 10
_PROCESSES_PER_CORE = 4


def instantiate(node: DictConfig | Mapping[str, Any], **extra: Any) -> Any:
    """Make the object that a configuration node describes; the only place that does."""
    plain = _plain(node)
    return hydra.utils.instantiate(with_addresses(plain, current_address), **extra)


@contextmanager
def made_from(key: str) -> Iterator[None]:
    """Name the setting where an object that it describes cannot be made.

    Args:
        key: Of the node of the configuration.

    Raises:
        InputError: In place of whatever the maker of the object raises, in one sentence.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, InputError):
            raise cause from error
        why = " ".join(str(cause).split()) or type(cause).__name__
        raise InputError(
            f"{key} cannot be made as it is set ({why.rstrip('.')}): mend its _target_ or its "
            "arguments"
        ) from error


def check_processes(trainer: DictConfig) -> None:
    """Refuse many more processes than a machine without a GPU has cores: they fill its memory.

    Args:
        trainer: Node of the configuration.

    Raises:
        InputError: If ``trainer.devices`` asks for so many.
    """
    count, cores = trainer.devices, os.cpu_count() or 1
    on_cpu = trainer.accelerator == "cpu" or not torch.cuda.is_available()
    if on_cpu and is_count(count, _PROCESSES_PER_CORE * cores + 1):
        raise InputError(
            f"trainer.devices={count} would start {count} processes on {cores} cores: give at most "
            f"{cores}"
        )


def _plain(node: Any) -> Any:
    """A node without interpolations; objects that stand in it stay what they are."""
    if isinstance(node, DictConfig | ListConfig):
        return OmegaConf.to_container(node, resolve=True)
    return {key: _plain(value) for key, value in node.items()} if isinstance(node, dict) else node


def resolve_config(config: DictConfig) -> DictConfig:
    """Write out what the configuration leaves to other settings, so that it is saved as it ran.

    Phases and learning rate of a run from given weights differ from those of one from scratch.

    Raises:
        InputError: If the model is one that can only be evaluated.
    """
    if config.model.task == "baseline":
        raise InputError(
            f"model={config.model.name} is there to be compared with by evaluate.py; "
            "choose a model that can be trained, such as eresfd"
        )
    config = with_rates_file(config.copy())
    with open_dict(config):
        other = config.phases.pop("with_weights", None)
        if config.weights is not None and not is_imagenet(config.weights) and other:
            config.phases = OmegaConf.merge(config.phases, other)
    return config


def resolve_learning_rate(config: DictConfig) -> DictConfig:
    """Write out the learning rate of the phases where nothing else set one."""
    if config.optimizer.lr is None:
        with open_dict(config):
            config.optimizer.lr = config.phases.lr
    return config


def build_data(config: DictConfig, network: nn.Module | None = None) -> Any:
    """The datamodule of ``data=``, seeded like the run.

    Args:
        config: Composed configuration.
        network: Detector whose preprocessing the pictures get; its model may also have an
            augmentation of its own and learn landmarks, where ``data`` says nothing of them.
    """
    about = ("name", "monitor", "mode")
    node = {key: value for key, value in config.data.items() if key not in about}
    extra: dict[str, Any] = {}
    preprocessing = getattr(network, "preprocessing", None)
    if preprocessing is not None:
        extra["preprocessing"] = preprocessing
        for name in ("augmentation", "landmarks"):
            if node.get(name) is None and name in config.model:
                node[name] = config.model[name]
    with made_from("data"):
        # called afterwards, because Hydra would turn a dataclass into a configuration of its own
        return instantiate(node, _partial_=True)(seed=int(config.seed), **extra)


def build_network(config: DictConfig) -> tuple[nn.Module, dict[str, Any]]:
    """The network of ``model=``, started from ``weights=`` if there are any.

    What the weights say about themselves (topology, anchor ratio) overrides the configuration,
    because a network is wrong with any other value; a difference is logged.

    Returns:
        The network, and name and arguments that build another of the kind.

    Raises:
        InputError: If the weights belong to another model.
    """
    settings: dict[str, Any] = dict(config.model.network)
    architecture = architecture_name(str(settings["_target_"]))
    state = None
    if is_imagenet(config.weights):
        state = fetch_imagenet(architecture, str(config.weights))
    elif config.weights is not None:
        path = Path(str(config.weights))
        if is_slim(path):
            return _build_slim(path, architecture, builders(config))
        state = read_weights(path)
        found, own = identify(state), read_architecture(path)
        told: dict[str, Any] = {}
        if own is not None and own["name"] == architecture:
            told = own["arguments"]
        elif found is not None and found.model == architecture:
            log.info("%s: %s (%s)", path.name, found.origin, found.licence)
            told = found.arguments
        for name in _SET_BY_WEIGHTS & told.keys():
            if settings.get(name) != told[name]:
                settings[name] = told[name]
                log.info("%s sets model.network.%s=%s", path.name, name, settings[name])
    with made_from("model.network"):
        network: nn.Module = instantiate(settings)
    if not isinstance(network, nn.Module):
        raise InputError(
            f"model.network._target_={settings['_target_']} makes no torch.nn.Module: name a class "
            "of one, or a function that returns one"
        )
    if state is not None:
        load = load_recognizer if config.model.task == "recognition" else load_weights
        load(network, state, source=str(config.weights))
    arguments = plain_arguments(settings)
    return network, {"name": architecture, "arguments": arguments}


def _build_slim(path: Path, architecture: str, known: Builders) -> tuple[nn.Module, dict[str, Any]]:
    """A slim network to train on, with name and arguments that build its dense one.

    Raises:
        InputError: If it is slim, but of another architecture.
    """
    own = read_slim_architecture(path)
    if own["name"] != architecture:
        raise InputError(
            f"weights={path} is a slim {own['name']}, and model= builds a {architecture}: name the "
            "model that it was slimmed from"
        )
    return load_slim(path, known).train(), own


def plain_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a network as files can hold them, checked before any training.

    Raises:
        InputError: If one of them is made by a `_target_` of its own.
    """
    plain = OmegaConf.to_container(OmegaConf.create(dict(settings)), resolve=True)
    assert isinstance(plain, dict)
    arguments = {str(name): value for name, value in plain.items() if name != "_target_"}
    nested = [name for name, value in arguments.items() if "_target_" in str(value)]
    if nested:
        raise InputError(
            f"model.network.{nested[0]} is an object of its own, which model.json cannot hold: "
            "give the network numbers and texts, and let it make the object from them"
        )
    return arguments


def build_task(config: DictConfig, network: nn.Module, teacher: nn.Module | None = None) -> Any:
    """The LightningModule of ``model=`` around a network, with the recipe of the configuration.

    Args:
        config: Of the run.
        network: To train.
        teacher: What it learns from beside labels; the task is then that of ``recover=``.
    """
    extra: dict[str, Any] = {}
    if config.model.task == "recognition" and config.weights and not is_imagenet(config.weights):
        extra["head_weights"] = head_weights(read_weights(str(config.weights)))
    node = config.model.lightning
    if teacher is not None:
        own = {key: value for key, value in node.items() if not str(key).startswith("_")}
        node = OmegaConf.create({**config.recover[config.model.task], **own})
        extra["teacher"] = teacher
    with made_from("optimizer"):
        optimizer = instantiate(config.optimizer)
        made = optimizer(network.parameters())
    with made_from("scheduler"):
        scheduler = instantiate(config.scheduler)
        scheduler(made, _SOME_STEPS, 1)  # as the task will, but before anything is trained
    with made_from("model.lightning"):
        return instantiate(
            node, network=network, optimizer=optimizer, scheduler=scheduler, **extra
        )()
