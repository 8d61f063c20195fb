"""Settings of a pruning as configuration and files of rates give them."""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path

import hydra.utils
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from secateur.errors import InputError
from secateur.pruning.criteria import register_criterion
from secateur.pruning.pruner import Pruner
from secateur.pruning.schedule import Schedule
from secateur.pruning.settings import PruningSettings
from secateur.pruning.targets import QUANTITIES, Target, read_target
from secateur.readers import read_yaml
from secateur.schema import is_number, mapping_in, shown
from secateur.workflows.config.overrides import given_overrides, key_of

log = logging.getLogger(__name__)

# What a file of rates may say of conf/pruning; rate, rates, target and seed stand beside it.
_OF_CONF = ("criterion", "scope", "min_keep", "align", "equal", "exclude",
            "mask_batchnorm", "groups", "remove_dead")  # fmt: skip


def pruning_settings(config: DictConfig) -> PruningSettings:
    """The settings of ``train.py`` and ``search.py``; the latter has no rates of its own.

    Raises:
        InputError: If a name is unknown or a number out of range.
    """
    if config.pruning.criterion is None:
        raise InputError(
            "pruning=none chooses no filters, and there is nothing to search for: take a criterion "
            "such as pruning=fpgm"
        )
    return PruningSettings(
        criterion=_criterion(config),
        rate=float(config.get("rate") or 0.0),
        rates=group_rates(config),
        groups=pruning_groups(config),
        exclude=excluded_layers(config),
        mask_batchnorm=bool(config.pruning.mask_batchnorm),
        scope=str(config.pruning.scope),
        min_keep=float(config.pruning.min_keep),
        align=int(config.pruning.align),
        equal=bool(config.pruning.get("equal", True)),
        target=size_target(config),
        seed=int(config.seed),
        remove_dead=bool(config.pruning.get("remove_dead", False)),
    )


def tell_dead_filters(config: DictConfig, pruner: Pruner) -> None:
    """Log how much of the weights that a run starts from is dead, and how that is removed first."""
    if config.weights is None or not (dead := pruner.dead_filters()).count:
        return
    first = (
        "they are removed first, within the rate"
        if pruner.settings.remove_dead
        else "pruning.remove_dead=true removes them first, within the rate"
    )
    log.info("%s: %s; %s", Path(str(config.weights)).name, dead, first)


def _criterion(config: DictConfig) -> str:
    """Name of the criterion; a function that is given by its import path is registered.

    Raises:
        InputError: If there is no such function.
    """
    name = str(config.pruning.criterion)
    if "." in name:
        try:
            register_criterion(hydra.utils.get_method(name), name)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"pruning.criterion={name} is no function that can be imported "
                f"({str(error).splitlines()[0]}); put its folder on PYTHONPATH"
            ) from error
    return name


def with_rates_file(config: DictConfig) -> DictConfig:
    """A configuration in which ``rates=FILE`` is written out.

    A file of a search holds all settings of its pruning, so that training prunes as the search
    did. What the command line says by name overrides the file.

    Raises:
        InputError: If the file is missing or holds something else.
    """
    if not isinstance(config.rates, str):
        return config
    _criterion(config)  # the file may name the same function, but cannot have it imported
    settings, rates = read_rates_file(Path(config.rates))
    config = config.copy()
    with open_dict(config):
        config.rates = rates
        if settings is not None:
            said = {key_of(given) for given in given_overrides()}
            if "rate" not in said:
                config.rate = settings.rate
            plain = settings.to_plain()
            for name in _OF_CONF:
                key = "pruning" if name == "criterion" else f"pruning.{name}"
                if key in said or f"pruning.{name}" in said:
                    log.info("%s=%s goes before the rates file", key, config.pruning[name])
                else:
                    config.pruning[name] = plain[name]
    return config


def read_rates_file(path: Path) -> tuple[PruningSettings | None, dict[str, float]]:
    """Settings and rates of groups in a file that ``search.py`` wrote, or a person.

    Args:
        path: YAML with ``settings`` and ``rates``, with ``rates`` alone, or a mapping from group to
            rate.

    Raises:
        InputError: If the file is missing or holds something else.
    """
    if not path.exists():
        raise InputError(f"rates={path} does not exist; search.py writes such a file")
    remedy = "give a file that search.py wrote, or a mapping from group to rate"
    content = mapping_in(read_yaml(path, remedy), f"rates={path}", remedy)
    settings = None
    rates = content
    if "rates" in content:
        if extra := content.keys() - {"rates", "settings", "model"}:
            raise InputError(f"rates={path} has the unknown key {min(map(str, extra))}")
        rates = content["rates"]
        if "settings" in content:
            settings = PruningSettings.from_plain(content["settings"], f"settings in {path}")
    return settings, _checked_rates(rates, str(path))


def group_rates(config: DictConfig) -> dict[str, float]:
    """Rates of groups from ``rates=``: a mapping on the command line or a file of a search.

    Raises:
        InputError: If the file is missing or holds something else.
    """
    wanted = config.get("rates")
    if wanted is None:
        return {}
    if isinstance(wanted, str):
        return read_rates_file(Path(wanted))[1]
    plain = OmegaConf.to_container(wanted, resolve=True) if OmegaConf.is_config(wanted) else wanted
    return _checked_rates(plain, "the command line")


def _checked_rates(wanted: object, source: str) -> dict[str, float]:
    if not isinstance(wanted, dict):
        raise InputError(f"rates of {source} must be a mapping from group to rate")
    rates = {}
    for group, rate in wanted.items():
        if rate is None:
            continue
        if not is_number(rate):
            raise InputError(
                f"the rate of group {group} in {source} must be a number, got {shown(rate)}"
            )
        if not 0 <= rate < 1:
            raise InputError(
                f"the rate of group {group} in {source} must be in [0, 1), got {rate:g}"
            )
        rates[str(group)] = float(rate)
    return rates


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
    if not isinstance(wanted, ListConfig | list):
        raise InputError(
            f"pruning.exclude={wanted} must be heads, none, or a list of patterns of layer names, "
            "as in 'pruning.exclude=[base.conv1.*]'"
        )
    return [str(pattern) for pattern in wanted]


def size_target(config: DictConfig) -> dict[str, float | str]:
    """The size that ``target.macs=0.5`` and the like ask for; empty for none.

    Raises:
        InputError: If the target is written as it was before quantities had names.
    """
    wanted = config.get("target")
    if wanted is None:
        return {}
    quantity = str(config.get("quantity") or "sparsity")
    if not isinstance(wanted, DictConfig):
        share = wanted if isinstance(wanted, float) and 0 < wanted < 1 else 0.3
        value = share if quantity == "sparsity" else 1 - share
        raise InputError(
            f"target={wanted} does not say of what: it is target.{quantity}={value:g} now, the "
            "value that this quantity has in the end (sparsity: zeros over all; params, macs and "
            "latency: slim over dense)"
        )
    if config.get("quantity") is not None:
        raise InputError(
            f"quantity={config.quantity} is said by the target now: target.{quantity}=VALUE, what "
            "remains of it in the end"
        )
    return {str(name): value for name, value in wanted.items() if value is not None}


def required_target(config: DictConfig) -> Target:
    """The target of a search, which cannot do without one.

    Raises:
        InputError: If there is none or it is impossible.
    """
    target = read_target(size_target(config))
    if target is None:
        names = ", ".join(f"target.{quantity}=" for quantity in QUANTITIES)
        raise InputError(f"a search needs a size to search for: give one of {names}")
    return target


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
            mask_first=bool(config.pruning.get("mask_first", False)),
        )
    except ValueError as error:
        raise InputError(f"phases or pruning: {error}") from error
