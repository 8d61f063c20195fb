"""The plugin that Hydra finds: settings of a sweep, and where its parts come together."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

CHILD_VARIABLE = "SECATEUR_TRIAL"  # tells further processes of a job which trial they belong to


class StudySweeper(Sweeper):
    """Runs trials of an Optuna study as Hydra jobs, ``n_jobs`` at a time, on any launcher.

    Args:
        direction: ``maximize`` or ``minimize``, or a list of them for several objectives.
        n_trials: Trials in all, those of earlier commands on the same study included.
        n_jobs: Trials under way at once.
        sampler: Node of an Optuna sampler.
        pruner: Node of an Optuna pruner that stops bad trials early, or None.
        storage: Journal file or URL of a database; None is a journal in the sweep's folder.
        study_name: Name of the study in its storage.
        params: Search space and fixed values beside those of the command line, which win.
        custom_search_space: Dotted path of ``function(config, trial)``, which suggests more.
        objective: Names of figures in ``summary.json`` to optimise; None leaves it to the program.
        max_failure_rate: Share of ``n_trials`` that may fail before the sweep stops.
        retries: How often a trial is started again after its process was killed.
    """

    def __init__(
        self,
        direction: str | Sequence[str],
        n_trials: int,
        n_jobs: int,
        sampler: Mapping[str, Any],
        pruner: Mapping[str, Any] | None,
        storage: str | None,
        study_name: str,
        params: Mapping[str, Any] | None,
        custom_search_space: str | None,
        objective: str | Sequence[str] | None,
        max_failure_rate: float,
        retries: int,
    ) -> None:
        self.directions = [direction] if isinstance(direction, str) else list(direction)
        self.n_trials = int(n_trials)
        self.n_jobs = int(n_jobs)
        self.sampler = sampler
        self.pruner = pruner
        self.storage = storage
        self.study_name = str(study_name)
        self.params = dict(params or {})
        self.custom_search_space = custom_search_space
        self.objective = objective
        self.max_failure_rate = float(max_failure_rate)
        self.retries = int(retries)
        self.config: DictConfig | None = None
        self.launcher: Any = None
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives every sweeper, and make the launcher."""
        self.config = config
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the study to ``n_trials``.

        Args:
            arguments: Overrides of the command line, those for Hydra itself left out.
        """
        assert self.config is not None
        if int(os.environ.get("LOCAL_RANK", "0")) > 0 and os.environ.get(CHILD_VARIABLE):
            self._join_trial()
            return
        from hydra_plugins.secateur_sweeper._study_run import StudyRun

        StudyRun(self, Path(str(self.config.hydra.sweep.dir)), arguments)()

    def _join_trial(self) -> None:
        """Run the parent's trial in a further process of it.

        Lightning starts the processes of ``strategy=ddp`` by giving the whole command again; a
        sweeper there must not ask for trials of its own.
        """
        from hydra._internal.core_plugins.basic_launcher import BasicLauncher

        assert self.hydra_context is not None
        assert self.task_function is not None
        assert self.config is not None
        trial = json.loads(os.environ[CHILD_VARIABLE])
        launcher = BasicLauncher()
        launcher.setup(
            hydra_context=self.hydra_context, task_function=self.task_function, config=self.config
        )
        [job] = launcher.launch([trial["overrides"]], initial_job_idx=trial["number"])
        _ = job.return_value  # raises what the job raised


def plain(node: object) -> Any:  # noqa: ANN401 (what YAML holds)
    """Settings as plain Python, whether they came from YAML or from a program."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
