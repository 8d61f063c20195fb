"""SoftPruningCallback: masks filters during training, then holds the final mask."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from secateur.pruning.masks import MaskHolder
from secateur.pruning.pruner import Pruner
from secateur.pruning.schedule import Schedule


class SoftPruningCallback(pl.Callback):
    """Prune by a schedule: renew masks, let filters grow back or not, hold the last mask.

    Masks are set after the last optimiser step of an epoch and before its validation, so that
    the metric and the checkpoint describe the same weights; Lightning's ``on_train_epoch_end``
    would come after validation. While a mask is held it is applied again after every optimiser
    step, because weight decay, momentum and batch norm would otherwise bring filters back.

    Args:
        pruner: Plans and applies masks on the network that is trained.
        schedule: When to do what.
    """

    def __init__(self, pruner: Pruner, schedule: Schedule) -> None:
        self.pruner = pruner
        self.schedule = schedule
        self.keep: dict[str, Tensor] = {}
        self._holder: MaskHolder | None = None

    def prune(self, trainer: pl.Trainer, fraction: float = 1.0) -> None:
        """Plan masks for the weights as they are, agree on them across processes, apply them."""
        held = self.schedule.kind == "held"
        keep = self.pruner.carried() if held else self.pruner.plan(fraction)
        if self.schedule.kind == "iterative" and self.keep:
            keep = {name: mask & self.keep[name].to(mask.device) for name, mask in keep.items()}
        # Every process has the same weights, but the last bit of a score may depend on the machine.
        self.keep = trainer.strategy.broadcast(keep, src=0)
        self.pruner.apply(self.keep)
        self._holder = None

    def hold(self) -> None:
        """Put pruned filters back to zero."""
        if self._holder is None:
            self._holder = MaskHolder(self.pruner.model, self.keep, self.pruner.batchnorms)
        self._holder.apply()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Mask before the first batch where the schedule asks for it."""
        if self.schedule.prunes_before(trainer.current_epoch) and not self.keep:
            self.prune(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Hold the mask, and renew it after the last batch of an epoch that asks for it."""
        epoch = trainer.current_epoch
        if self.keep and self.schedule.holds_during(epoch):
            self.hold()
        if trainer.is_last_batch and self.schedule.prunes_after(epoch):
            self.prune(trainer, self.schedule.fraction(epoch))

    def state_dict(self) -> dict[str, Any]:
        """Masks as plain tensors, loadable with ``weights_only=True``."""
        return {"keep": {name: mask.cpu() for name, mask in self.keep.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take masks back from a checkpoint."""
        self.keep = dict(state_dict["keep"])
        self._holder = None

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set pruned filters to exact zeros at the end."""
        if self.keep:
            with torch.no_grad():
                self.pruner.apply(self.keep)
