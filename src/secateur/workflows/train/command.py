"""What ``train.py`` runs: one training, or a recipe of several steps."""

from __future__ import annotations

import logging
import os
import shlex

from omegaconf import DictConfig

from secateur.workflows.config.pruning_config import size_target
from secateur.workflows.sweep import sweep_job
from secateur.workflows.train.training import train

log = logging.getLogger(__name__)


def train_command(config: DictConfig) -> float | list[float | None] | None:
    """Run what the configuration asks for.

    Args:
        config: Composed ``conf/train.yaml``.

    Returns:
        The figure that a sweep optimises.

    Raises:
        InputError: If the configuration cannot be run.
    """
    size_target(config)  # written as it was before quantities had names, it is refused first
    if config.get("pipeline") is not None:
        # a training by itself need not load the search
        from secateur.workflows.pipeline.pipeline import run_pipeline

        return run_pipeline(config)
    value = train(config)
    if sweep_job() is None:  # a sweep ends with a comparison of its runs
        log.info("next: %s", next_steps(config))
    return value


def next_steps(config: DictConfig) -> str:
    """What can be done with a finished run, as commands.

    Args:
        config: Composed ``conf/train.yaml`` of the run.
    """
    prefix, suffix = ("secateur ", "") if "SECATEUR_COMMAND" in os.environ else ("python ", ".py")
    run = shlex.quote(f"run={config.output_dir or 'latest'}")
    faces = f"{config.data.root}/WIDER_val/images" if config.data.name == "demo_faces" else "FOLDER"
    use = "detect" if config.model.task == "detection" else "embed"
    steps = [
        f"{use}{suffix} {run} {shlex.quote(f'source={faces}')}",
        f"export{suffix} {run} format=onnx",
        f"compare{suffix} {shlex.quote(str(config.paths.outputs))}/",
    ]
    return "\n      ".join(prefix + step for step in steps)
