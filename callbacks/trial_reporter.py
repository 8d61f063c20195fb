"""TrialReporter: reports a trial's figures to the study of a sweep, and stops a bad trial."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

if TYPE_CHECKING:
    from optuna.trial import Trial

log = logging.getLogger(__name__)


class TrialReporter(pl.Callback):
    """Reports the monitored figure after every validation to the study of ``hydra/sweeper=optuna``.

    Outside a sweep it does nothing.

    Args:
        folder: Run folder, which the trial remembers.
        monitor: Name of the figure of validation.
        trial: ``number``, ``study`` and ``storage`` of the trial, perhaps the ``pruner`` that
            decides which trials stop early; None outside a sweep.

    Raises:
        optuna.TrialPruned: From the hook, when the trial is to stop.
    """

    def __init__(self, folder: Path, monitor: str, trial: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.monitor = monitor
        self.about = trial
        self.trial: Trial | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find the trial, in the first process only."""
        if self.about is None or self.trial is not None or not trainer.is_global_zero:
            return
        # a run without a study need not load what studies need
        import optuna
        from optuna.pruners import BasePruner, NopPruner
        from optuna.samplers import RandomSampler
        from optuna.trial import Trial

        from secateur.search.study import open_storage

        pruner = self.about.get("pruner")
        study = optuna.load_study(
            study_name=str(self.about["study"]),
            storage=open_storage(str(self.about["storage"])),
            sampler=RandomSampler(),  # values are suggested already
            pruner=pruner if isinstance(pruner, BasePruner) else NopPruner(),
        )
        number = int(self.about["number"])
        [found] = [one for one in study.get_trials(deepcopy=False) if one.number == number]
        self.trial = Trial(study, found._trial_id)
        self.trial.set_user_attr("folder", str(self.folder))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report, and stop if the pruner says so."""
        if self.about is None or trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        stop = False
        value = trainer.callback_metrics.get(self.monitor)
        if self.trial is not None and value is not None and len(self.trial.study.directions) == 1:
            self.trial.report(float(value), step=trainer.current_epoch)
            stop = self.trial.should_prune()
        if trainer.strategy.broadcast(stop):
            import optuna

            raise optuna.TrialPruned(f"stopped after epoch {trainer.current_epoch}")
