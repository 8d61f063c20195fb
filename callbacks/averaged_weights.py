"""AveragedWeights: a running average of the weights is validated, and the best of it kept."""

from __future__ import annotations

import logging
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from secateur.callbacks.soft_pruning import SoftPruningCallback

log = logging.getLogger(__name__)

_WARM_UP = 10  # the average forgets its start quickly at first


class AveragedWeights(pl.Callback):
    """Averages the network over training steps; validation and the end of the run see the average.

    The average starts anew whenever masks are renewed, so it never mixes weights of different
    masks, and filters that are held at zero are zero in it. Of the epochs with the final mask the
    one with the best figure gives the weights that the run ends with; without a figure to watch it
    is the last one. (Lightning's own weight averaging knows nothing of masks and would bring
    filters back.)

    Args:
        network: The network that is trained.
        pruning: The callback that masks it.
        decay: What is kept of the average in a step, in [0, 1).
        monitor: Name of the figure of a validation, or None.
        mode: Which is better.

    Raises:
        ValueError: If the decay is out of range.
    """

    def __init__(
        self,
        network: nn.Module,
        pruning: SoftPruningCallback | None,
        decay: float = 0.995,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "max",
    ) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, got {decay:g}")
        self.network = network
        self.pruning = pruning
        self.decay = decay
        self.monitor = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.average: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] = {}
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self._steps = 0
        self._renewals = -1
        self._raw: dict[str, Tensor] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Follow the network to its device: a checkpoint is read before it goes there."""
        device = next(self.network.parameters()).device
        for name in ("average", "best"):
            tensors: dict[str, Tensor] = getattr(self, name)
            setattr(self, name, {key: tensor.to(device) for key, tensor in tensors.items()})

    @torch.no_grad()
    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take the weights of this step into the average."""
        renewals = 0 if self.pruning is None else self.pruning.renewals
        state = self.network.state_dict()
        if not self.average or renewals != self._renewals:
            self.average = {name: tensor.detach().clone() for name, tensor in state.items()}
            self._renewals, self._steps = renewals, 0
            return
        self._steps += 1
        decay = min(self.decay, self._steps / (self._steps + _WARM_UP))
        moving = [name for name, tensor in state.items() if tensor.dtype.is_floating_point]
        # All in one launch: a CUDA device would take longer to be told of hundreds.
        torch._foreach_lerp_(
            [self.average[name] for name in moving], [state[name] for name in moving], 1 - decay
        )
        for name in state.keys() - set(moving):
            self.average[name].copy_(state[name])

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the average to validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self.average:
            self._raw = {name: t.detach().clone() for name, t in self.network.state_dict().items()}
            self.network.load_state_dict(self.average)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the average if it is the best so far, and go on with the weights as they were."""
        if not self._raw:
            return
        self.network.load_state_dict(self._raw)
        self._raw = {}
        value = trainer.callback_metrics.get(self.monitor) if self.monitor else None
        if value is None or not self._final(trainer):
            return
        score = self.sign * float(value)
        if self.best_score is None or score > self.best_score:
            self.best = {name: tensor.clone() for name, tensor in self.average.items()}
            self.best_score, self.best_epoch = score, trainer.current_epoch

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End with the best average, or with the last one."""
        if self.best:
            self.network.load_state_dict(self.best)
            log.info(
                "weights of epoch %s, the best of %s: %.4f",
                *(self.best_epoch, self.monitor, self.sign * (self.best_score or 0.0)),
            )
        elif self.average:
            self.network.load_state_dict(self.average)

    def _final(self, trainer: pl.Trainer) -> bool:
        """Whether the epoch ends with the final mask."""
        if self.pruning is None:
            return True
        return trainer.current_epoch >= self.pruning.schedule.last_prune_epoch

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain Python, loadable with ``weights_only=True``."""
        return {
            "average": self.average,
            "best": self.best,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "steps": self._steps,
            "renewals": self._renewals,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint stopped."""
        self.average, self.best = dict(state_dict["average"]), dict(state_dict["best"])
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]
        self._steps, self._renewals = state_dict["steps"], state_dict["renewals"]
