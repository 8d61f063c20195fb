"""From configuration nodes to objects."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra.utils
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from secateur.errors import InputError
from secateur.pruning.artifact import is_slim
from secateur.pruning.schedule import Schedule
from secateur.weights.dense import read_architecture
from secateur.weights.detector_weights import identify, load_weights, read_weights
from secateur.weights.recognizer_weights import fetch_imagenet, head_weights, is_imagenet
from secateur.weights.recognizer_weights import load_weights as load_recognizer

log = logging.getLogger(__name__)

GroupTables = dict[str, dict[str, tuple[str, ...]]]

# A width shows in the shapes of the tensors; these do not, so a wrong value would go unnoticed.
_SET_BY_WEIGHTS = {"topology", "anchor_ratio"}


def instantiate(node: DictConfig | Mapping[str, Any], **extra: Any) -> Any:
    """Make the object that a configuration node describes; the only place that does."""
    return hydra.utils.instantiate(node, **extra)


def resolve_config(config: DictConfig) -> DictConfig:
    """Write out what the configuration leaves to other settings, so that it is saved as it ran.

    Phases and learning rate of a run from given weights differ from those of one from scratch.

    Raises:
        InputError: If the model is one that can only be evaluated.
    """
    if config.model.task == "peer":
        raise InputError(
            f"model={config.model.name} is there to be compared with by evaluate.py; "
            "choose a model that can be trained, such as eresfd"
        )
    config = config.copy()
    with open_dict(config):
        other = config.phases.pop("with_weights", None)
        if config.weights is not None and not is_imagenet(config.weights) and other:
            config.phases = OmegaConf.merge(config.phases, other)
        if config.optimizer.lr is None:
            config.optimizer.lr = config.phases.lr
    return config


def build_data(config: DictConfig) -> Any:
    """The datamodule of ``data=``, seeded like the run."""
    about = ("name", "monitor", "mode")
    node = {key: value for key, value in config.data.items() if key not in about}
    return instantiate(node, seed=int(config.seed))


def build_network(config: DictConfig) -> tuple[nn.Module, dict[str, Any]]:
    """The network of ``model=``, started from ``weights=`` if there are any.

    What the weights say about themselves (topology, anchor ratio) goes before the configuration,
    because a network is wrong with any other value; a difference is told.

    Returns:
        The network, and name and arguments that build another of the kind.

    Raises:
        InputError: If the weights belong to another model.
    """
    settings: dict[str, Any] = dict(config.model.network)
    family = str(settings["_target_"]).rpartition(".")[2].lower()
    state = None
    if is_imagenet(config.weights):
        state = fetch_imagenet(family, str(config.weights))
    elif config.weights is not None:
        path = Path(str(config.weights))
        if is_slim(path):
            raise InputError(
                f"weights={path} is a slim network, whose filters are gone already: evaluate it "
                "with python evaluate.py run=FOLDER, or start from the checkpoint before slimming"
            )
        state = read_weights(path)
        found, own = identify(state), read_architecture(path)
        told: dict[str, Any] = {}
        if own is not None and own["name"] == family:
            told = own["arguments"]
        elif found is not None and found.model == family:
            log.info("%s: %s (%s)", path.name, found.origin, found.licence)
            told = found.arguments
        for name in _SET_BY_WEIGHTS & told.keys():
            if settings.get(name) != told[name]:
                settings[name] = told[name]
                log.info("%s sets model.network.%s=%s", path.name, name, settings[name])
    network: nn.Module = instantiate(settings)
    if state is not None:
        load = load_recognizer if config.model.task == "recognition" else load_weights
        load(network, state, source=str(config.weights))
    arguments = {name: value for name, value in settings.items() if name != "_target_"}
    return network, {"name": family, "arguments": arguments}


def build_task(config: DictConfig, network: nn.Module) -> Any:
    """The LightningModule of ``model=`` around a network, with the recipe of the configuration."""
    extra: dict[str, Any] = {}
    if config.model.task == "recognition" and config.weights and not is_imagenet(config.weights):
        extra["head_weights"] = head_weights(read_weights(str(config.weights)))
    return instantiate(
        config.model.lightning,
        network=network,
        optimizer=instantiate(config.optimizer),
        scheduler=instantiate(config.scheduler),
        **extra,
    )()


def model_tables(
    config: DictConfig,
) -> tuple[dict[str, dict[str, tuple[str, ...]]], tuple[str, ...]]:
    """Group tables and head patterns that the module of the network declares."""
    module = import_module(str(config.model.network["_target_"]).rpartition(".")[0])
    return getattr(module, "GROUPS", {}), tuple(getattr(module, "HEADS", ()))


def pruning_groups(config: DictConfig) -> dict[str, list[str]]:
    """Patterns of layer names per group: a named table of the model, or the user's own.

    Raises:
        InputError: If there is no table of that name.
    """
    wanted = config.pruning.groups
    if isinstance(wanted, DictConfig):
        return {str(group): [str(pattern) for pattern in wanted[group]] for group in wanted}
    tables, _ = model_tables(config)
    if wanted is None:
        return {}
    if wanted not in tables:
        raise InputError(
            f"pruning.groups={wanted} is no table of groups of {config.model.name}; "
            f"choose from {', '.join(tables) or 'none'} or give patterns in YAML"
        )
    return {group: list(patterns) for group, patterns in tables[wanted].items()}


def excluded_layers(config: DictConfig) -> list[str]:
    """Patterns of layers that are never pruned."""
    wanted = config.pruning.exclude
    if wanted == "heads":
        return list(model_tables(config)[1])
    if wanted in (None, "none"):
        return []
    return [str(pattern) for pattern in wanted]


def group_rates(config: DictConfig) -> dict[str, float]:
    """Rates of groups from ``rates=``: a mapping on the command line or a file of a search.

    Raises:
        InputError: If the file is missing or holds something else.
    """
    wanted = config.rates
    if isinstance(wanted, str):
        path = Path(wanted)
        if not path.is_file():
            raise InputError(f"rates={path} does not exist; search.py writes such a file")
        wanted = OmegaConf.load(path)
        if isinstance(wanted, DictConfig) and "rates" in wanted:
            wanted = wanted.rates
    if not isinstance(wanted, DictConfig):
        raise InputError(f"rates={config.rates} must be a mapping from group to rate")
    rates = {}
    for group, rate in ((str(key), value) for key, value in wanted.items()):
        if rate is None:
            continue
        if not isinstance(rate, int | float):
            raise InputError(f"the rate of group {group} must be a number, got {rate!r}")
        rates[group] = float(rate)
    return rates


def size_target(config: DictConfig) -> dict[str, float]:
    """The size that ``target.macs=0.5`` and the like ask for; empty for none."""
    return {str(name): value for name, value in config.target.items() if value is not None}


def build_schedule(config: DictConfig) -> Schedule:
    """Phases of the run in epochs.

    Raises:
        InputError: If a number is impossible.
    """
    phases = config.phases
    try:
        return Schedule(
            kind=config.pruning.schedule,
            dense_epochs=int(phases.dense_epochs),
            prune_epochs=int(phases.prune_epochs),
            finetune_epochs=int(phases.finetune_epochs),
            every_n_epochs=int(config.pruning.every_n_epochs),
        )
    except ValueError as error:
        raise InputError(f"phases or pruning: {error}") from error
