"""TaylorStatisticsCallback: gathers what the Taylor criteria score filters by."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from secateur.pruning.pruner import Pruner
from secateur.pruning.schedule import Schedule
from secateur.pruning.taylor import TaylorStatistics


class TaylorStatisticsCallback(pl.Callback):
    """Scores the mini-batches of every epoch after which filters are pruned.

    It has to come before ``SoftPruningCallback`` in the list of callbacks: at the last batch it
    hands the mean over all mini-batches of all processes to the pruner.

    Args:
        pruner: Its criterion and layers say what to gather.
        schedule: Says which epochs count.
    """

    def __init__(self, pruner: Pruner, schedule: Schedule) -> None:
        self.pruner = pruner
        self.schedule = schedule
        self._gathering: TaylorStatistics | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Watch the layers if masks are set after this epoch or before the next."""
        epoch = trainer.current_epoch
        self._stop()
        if self.schedule.prunes_after(epoch) or self.schedule.prunes_before(epoch + 1):
            gathering = TaylorStatistics(self.pruner.layers, self.pruner.criterion)
            self._gathering = gathering.__enter__()

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score the batch that just went through."""
        if self._gathering is not None:
            self._gathering.end_batch()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Hand over the means of the epoch after its last batch."""
        if self._gathering is not None and trainer.is_last_batch:

            def add_up(tensor: Tensor) -> Tensor:
                total = trainer.strategy.reduce(tensor, reduce_op="sum")
                assert isinstance(total, Tensor)
                return total

            self.pruner.statistics = self._gathering.means(add_up)
            self._stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave no hooks behind."""
        self._stop()

    def state_dict(self) -> dict[str, Any]:
        """Means as plain tensors, loadable with ``weights_only=True``."""
        return {"statistics": {name: mean.cpu() for name, mean in self.pruner.statistics.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the means back, for masks that are set before the first batch."""
        self.pruner.statistics = {
            name: mean.to(next(self.pruner.layers[name].parameters()).device)
            for name, mean in state_dict["statistics"].items()
        }

    def _stop(self) -> None:
        if self._gathering is not None:
            self._gathering.__exit__(None, None, None)
            self._gathering = None
