"""What ``train.py`` runs: one training, or a recipe of several steps."""

from __future__ import annotations

from omegaconf import DictConfig

from secateur.errors import InputError
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
    if config.get("pipeline") is not None:
        # a training by itself need not load the search
        from secateur.workflows.pipeline.pipeline import run_pipeline

        return run_pipeline(config)
    if not isinstance(config.target, DictConfig):
        raise InputError(
            f"target={config.target} needs a recipe that searches the rates, such as "
            "experiment=bfpgm/pipeline; for one training say target.sparsity, target.params, "
            "target.macs or target.latency"
        )
    return train(config)
