"""Search job: levels, space, sampler and objective of a search, from the configuration."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from secateur.errors import InputError
from secateur.pruning.pruner import Pruner
from secateur.pruning.targets import NominalSparsity
from secateur.search.exact_space import ExactSpace, FrontSpace
from secateur.search.level_sizes import CoupledSparsity, LevelSizes, levels_of_sizes
from secateur.search.objective import Objective, TrialNetwork
from secateur.search.published_space import PublishedSpace, highest_rate
from secateur.search.rate_levels import Levels, RateMasks, make_levels
from secateur.search.sampling import SamplerSettings, StagedSampler, StartupPoints
from secateur.search.slim_level_sizes import SlimLevelSizes
from secateur.search.workers import Evaluation, Identify, SearchJob, Space
from secateur.workflows.config.older_config import removed_of
from secateur.workflows.config.pruning_config import required_target
from secateur.workflows.run_folder import RunFolder
from secateur.workflows.search.trial_setup import build_evaluator, build_pruner


def build_search_job(config: DictConfig, run: RunFolder) -> SearchJob:
    """Everything that a worker needs, from the configuration.

    Raises:
        InputError: If something in it is impossible.
    """
    if int(config.n_trials) < 1:
        raise InputError(f"n_trials must be at least 1, got {config.n_trials}")
    check_target(config)
    pruner = build_pruner(config)
    rate_masks = RateMasks(pruner, _highest(config))
    space = build_space(config, pruner, rate_masks)
    trial_network = TrialNetwork(pruner.model, rate_masks)
    evaluator = build_evaluator(config, pruner.model, config.train_steps)
    evaluate = Objective(trial_network, evaluator)
    return SearchJob(
        storage=str(config.storage or run.path / "study.journal"),
        name=str(config.study),
        sampler=build_sampler(config, space, evaluate),
        n_trials=int(config.n_trials),
        n_objectives=2 if isinstance(space, FrontSpace) else 1,
        identity=_identity(config, pruner.model),
        stale_after=float(config.stale_after),
        space=space,
        evaluate=evaluate,
    )


def check_target(config: DictConfig) -> None:
    """Refuse a target or scope that the space does not know, before anything takes time.

    Raises:
        InputError: If so.
    """
    quantity = required_target(config).quantity
    scope, kind = str(config.pruning.scope), config.space.kind
    if kind == "published" and (quantity != "sparsity" or scope != "independent"):
        raise InputError(
            "space=published is the search of the paper, which knows target.sparsity and "
            f"pruning.scope=independent only, got {quantity} and {scope}: take space=exact"
        )


def build_sizes(
    config: DictConfig, pruner: Pruner, rate_masks: RateMasks
) -> tuple[dict[str, Levels], float, LevelSizes | None]:
    """Levels of every group, the share that is zero before any rate, and coupled sizes."""
    quantity = required_target(config).quantity
    if quantity == "sparsity" and pruner.scope == "independent":
        weigh = NominalSparsity(pruner.model, pruner.layers, pruner.batchnorms)
        levels = {
            name: make_levels(layers, pruner.scores, weigh, _highest(config))
            for name, layers in rate_masks.layers.items()
        }
        return levels, weigh({}), None
    sizes: CoupledSparsity | SlimLevelSizes
    if quantity == "sparsity":
        sizes = CoupledSparsity(pruner, rate_masks)
    else:
        side = int(config.search_size)
        inputs = torch.zeros(1, 3, side, side).contiguous(memory_format=torch.channels_last)
        sizes = SlimLevelSizes(pruner, rate_masks, (inputs,), quantity)
    return levels_of_sizes(rate_masks.layers, rate_masks.thresholds, sizes), sizes.start, sizes


def build_space(config: DictConfig, pruner: Pruner, rate_masks: RateMasks) -> Space:
    """The space of ``space=``.

    Raises:
        InputError: If there is none of that kind or the target is impossible.
    """
    kind = str(config.space.kind)
    if kind not in ("exact", "front", "published"):
        raise InputError(f"space.kind={kind} does not exist; choose exact, published or front")
    levels, start, sizes = build_sizes(config, pruner, rate_masks)
    dense = sizes.dense if isinstance(sizes, SlimLevelSizes) else math.nan
    target = 1 - required_target(config).as_share(dense).remaining  # the share to remove
    if kind == "exact":
        return ExactSpace(levels, target, start, sizes)
    if kind == "front":
        return FrontSpace(levels, target, start, float(config.space.lowest_removed), sizes)
    return PublishedSpace(
        levels,
        target,
        start,
        penalty_weight=float(config.space.penalty_weight),
        shortfall_weight=float(config.space.shortfall_weight),
    )


def build_sampler(config: DictConfig, space: Space, evaluate: Evaluation) -> StagedSampler:
    """The sampler of ``sampler=``; its first point prunes all groups alike."""
    seed = int(config.seed)
    first = (
        space.probe()
        if isinstance(space, PublishedSpace)
        else {name: high for name, (_, high) in space.variables.items()}
    )
    points = StartupPoints(space.variables, seed, first)
    # The published search may try a point again.
    identify = None if isinstance(space, PublishedSpace) else Identify(space, evaluate)
    return StagedSampler(SamplerSettings(**config.sampler), points, seed, identify)


def _highest(config: DictConfig) -> float:
    """No rate of any group above this."""
    if config.space.kind == "published":
        return highest_rate(required_target(config).value)
    highest = float(config.space.highest_rate)
    if not 0 < highest < 1:
        raise InputError(f"space.highest_rate must be between 0 and 1, got {highest:g}")
    return highest


_LATER = {"equal": True, "mask_first": False, "remove_dead": False}


def _identity(config: DictConfig, network: nn.Module) -> str:
    """What machines that share a study must have in common, wherever their files lie."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    parts = ("pruning", "space", "sampler", "objective")
    keys = ("train_steps", "search_size", "holdout", "seed")
    settings: dict[str, Any] = {
        **{part: OmegaConf.to_container(config[part], resolve=True) for part in parts},
        **{key: config[key] for key in keys},
        "data": config.data.name,
        **removed_of(required_target(config)),
    }
    # Settings that came later count where they are not what went without saying before.
    for key, value in _LATER.items():
        if settings["pruning"].get(key) == value:
            del settings["pruning"][key]
    if "lowest_removed" in settings["space"]:  # as it was called first
        settings["space"]["lowest_target"] = settings["space"].pop("lowest_removed")
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()[:16]
