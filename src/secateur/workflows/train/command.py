"""What ``train.py`` runs: one training, or a recipe of several steps."""

from __future__ import annotations

from omegaconf import DictConfig

from secateur.workflows.config.pruning_config import size_target
from secateur.workflows.train.training import train


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
    return train(config)
