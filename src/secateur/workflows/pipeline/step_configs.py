"""The configuration of a recipe, taken apart into those of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from secateur.errors import InputError
from secateur.workflows.command_line.arguments import CONF
from secateur.workflows.config.pruning_config import required_target
from secateur.workflows.search.trial_setup import resolve_search_config

# What search.yaml and train.yaml have in common; its other settings stand in the recipe.
_SHARED = {"model", "data", "pruning", "paths", "weights", "target", "seed", "resume", "output_dir"}
_SHARED |= {"logger"}

_PHASES = {"pretrain": "dense_epochs", "prune": "prune_epochs", "finetune": "finetune_epochs"}


def check_recipe(config: DictConfig) -> None:
    """Refuse what a recipe cannot do before its first step rather than after it.

    Raises:
        InputError: If a setting does not fit.
    """
    if config.model.task != "detection":
        raise InputError(f"the recipe prunes detectors only, and {config.model.name} is none")
    if config.pruning.criterion is None or str(config.pruning.criterion).startswith("taylor"):
        raise InputError(
            f"pruning={config.pruning.criterion or 'none'} does not fit the recipe, whose search "
            "scores filters by their weights: choose fpgm, l1, l2, batchnorm or random"
        )
    given = ["rate"] if config.rate is not None else []
    if isinstance(config.rates, DictConfig):
        given += [f"rates.{name!s}" for name, rate in config.rates.items() if rate is not None]
    elif config.rates is not None:
        given.append("rates")
    if given:
        raise InputError(
            f"{', '.join(given)} cannot be given here, because the recipe searches the rates: "
            "leave it out, or train with these rates without experiment=.../pipeline"
        )
    required_target(config)
    if config.trainer.devices != 1:
        raise InputError(
            f"the recipe runs on one device, got trainer.devices={config.trainer.devices}: "
            "for several, run its steps one by one with train.py and search.py"
        )
    for step, phase in _PHASES.items():
        skipped = step == "pretrain" and config.weights is not None
        if not skipped and int(config.phases[phase]) < 1:
            remedy = " or give weights=FILE" if step == "pretrain" else ""
            raise InputError(f"phases.{phase} must be at least 1{remedy}")


def training_config(
    config: DictConfig,
    step: str,
    folder: Path,
    weights: Path | None,
    rates: Mapping[str, float] | None = None,
) -> DictConfig:
    """Configuration of ``train`` for a step.

    Args:
        config: Configuration of the recipe.
        step: ``pretrain``, ``prune`` or ``finetune``.
        folder: Run folder of the step.
        weights: What it starts from; None starts from scratch.
        rates: Rates of groups in [0, 1); None trains without pruning.

    Returns:
        What ``train.py`` would have composed for this step.
    """
    config = config.copy()
    own = config.pipeline[step]
    with open_dict(config):
        for key in {"pipeline", *search_defaults()} - _SHARED:
            config.pop(key, None)
        config.output_dir, config.resume = str(folder), "auto"
        config.weights = None if weights is None else str(weights)
        config.target = {}
        # A sweep optimises the result of the recipe, not that of a step.
        config.trial = None
        config.rate, config.rates = 0.0, dict(rates or {})
        for name, phase in _PHASES.items():
            config.phases[phase] = int(config.phases[phase]) if name == step else 0
        config.phases.with_weights = None
        if own.lr is not None:
            config.optimizer.lr = own.lr
        if "factors" in config.scheduler and own.factors is not None:
            config.scheduler.factors = own.factors
        if step == "pretrain":
            config.pruning = {"criterion": None}
        if step == "finetune":
            # the mask of the step before, not another choice
            config.pruning.schedule = "held"
        if config.logger.wandb is not None:
            config.logger.wandb.job_type = step
    return config


def search_config(config: DictConfig, folder: Path, weights: Path) -> DictConfig:
    """Configuration of ``search`` for the recipe.

    Args:
        config: Configuration of the recipe.
        folder: Run folder of the step.
        weights: The network to search rates for.

    Returns:
        What ``search.py`` would have run with.
    """
    found = search_defaults().copy()
    limits = OmegaConf.to_container(found.data, resolve=False)
    assert isinstance(limits, dict)
    with open_dict(found):
        for key in found:
            if key in config:
                found[key] = config[key]
        # data: of search.yaml itself: some are held out; the search sets what else it needs
        found.data.holdout = limits["holdout"]
        found.weights, found.output_dir, found.resume = str(weights), str(folder), "auto"
    return resolve_search_config(found)


@cache
def search_defaults() -> DictConfig:
    """What ``search.py`` composes without overrides."""
    # There is one Hydra at a time, and that of the command itself may be it.
    state = GlobalHydra.instance()
    outer, state.hydra = state.hydra, None
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("search", ["weights=null"])
    finally:
        state.hydra = outer
