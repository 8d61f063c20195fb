"""What ends every multirun: its runs as a table, a front and a page."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

log = logging.getLogger(__name__)


class SweepReport(Callback):
    """Compares the runs of a sweep or study once all of them have ended."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table, write the page, and tell W&B where the runs did.

        Args:
            config: Configuration of the multirun itself.
            **kwargs: What later versions of Hydra may add.
        """
        # all of it would otherwise be imported before any command knows that it is a sweep
        from secateur.errors import InputError
        from secateur.reports.comparison.runs import collect_runs
        from secateur.reports.comparison.table import select_runs
        from secateur.workflows.comparison.compare import print_comparison, write_comparison

        folder = Path(str(config.hydra.sweep.dir))
        try:
            found = collect_runs([folder])
            runs = [run for run in found.runs if run.kind != "evaluation"]
            monitor = next((n for n in _MONITORS if any(n in run.record for run in runs)), None)
            runs = select_runs(runs, None, monitor)
            if not runs:
                return
            print_comparison(runs, monitor=monitor)
            title = f"Sweep {folder.name}"
            page = write_comparison(folder / "comparison", runs, title, (), found.problems)
        except InputError as error:
            log.warning("the runs of %s are not compared: %s", folder, error)
            return
        log.info("page: %s", page)
        study = "StudySweeper" in str(config.hydra.sweeper.get("_target_"))
        _tell_wandb(runs[0].path, folder, "study" if study else "sweep")


_MONITORS = ("ap_hard", "eer", "accuracy", "best_objective")


def _tell_wandb(first: Path, folder: Path, job_type: str) -> None:
    """Log the sweep as a run of its own, in the group of its trainings."""
    from omegaconf import OmegaConf

    from secateur.reports.comparison.runs import read_settings
    from secateur.workflows.sweep import SweepJob
    from secateur.workflows.tracking.wandb_run import log_pictures, log_table, tracked_run

    saved = read_settings(first / "config.yaml")
    if not (saved.get("logger") or {}).get("wandb"):
        return
    config = OmegaConf.create(saved)
    assert isinstance(config, DictConfig)
    group = SweepJob(folder, 0).group
    with tracked_run(config, folder, folder.name, job_type=job_type, group=group) as run:
        if run is not None:
            log_table(run, "trials", folder / "comparison" / "runs.csv")
            log_pictures(run, folder / "comparison" / "plots")
