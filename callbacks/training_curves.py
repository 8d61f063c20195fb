"""TrainingCurves: learning rate, sparsity and changes of the mask over the epochs."""

from __future__ import annotations

import pytorch_lightning as pl
from torch import Tensor

from secateur.callbacks.soft_pruning import SoftPruningCallback
from secateur.cost.parameters import sparsity


class TrainingCurves(pl.Callback):
    """Logs what the losses and figures of a run follow from.

    ``train/lr`` is that of the first parameter group. Where filters are pruned,
    ``pruning/filters_removed`` is the share that the masks drop, ``pruning/mask_changes`` how many
    filters went or came back since the epoch before, and ``pruning/sparsity`` zeros over all
    parameters.

    Args:
        pruning: Callback with the masks; None for plain training.
    """

    def __init__(self, pruning: SoftPruningCallback | None) -> None:
        self.pruning = pruning
        self._before: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the values of this epoch."""
        for optimizer in trainer.optimizers[:1]:
            pl_module.log("train/lr", float(optimizer.param_groups[0]["lr"]))
        if self.pruning is None:
            return
        keep = {name: mask.cpu() for name, mask in self.pruning.keep.items()}
        kept, filters = sum(int(m.sum()) for m in keep.values()), sum(map(len, keep.values()))
        pl_module.log("pruning/filters_removed", 1 - kept / filters if filters else 0.0)
        if self._before:
            changed = sum(int((mask != self._before[n]).sum()) for n, mask in keep.items())
            pl_module.log("pruning/mask_changes", float(changed))
        pl_module.log("pruning/sparsity", sparsity(self.pruning.pruner.model))
        self._before = keep
