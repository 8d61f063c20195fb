"""The four steps of B-FPGM in one command: pre-train, search the rates, soft prune, fine-tune."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from secateur.errors import InputError
from secateur.reports.pipeline_table import print_pipeline
from secateur.reports.summary import read_summary, write_summary
from secateur.workflows.config.pruning_config import group_rates, required_target
from secateur.workflows.pipeline.pipeline_step import Step
from secateur.workflows.pipeline.step_configs import check_recipe, search_config, training_config
from secateur.workflows.run_folder import fingerprint, open_run_folder
from secateur.workflows.search.rate_search import search
from secateur.workflows.sweep import sweep_job
from secateur.workflows.tracking.wandb_run import summary_values, tracked_run
from secateur.workflows.train.training import objective, train

log = logging.getLogger(__name__)

LAST = "checkpoints/last.ckpt"


def run_pipeline(config: DictConfig) -> float | list[float | None] | None:
    """Run the steps of a recipe whose results are not there.

    The folder is fixed by the configuration, so the same command goes on where it stopped.

    Args:
        config: Composed ``conf/train.yaml`` with ``experiment=bfpgm/pipeline``.

    Returns:
        The figure that a sweep optimises, of the final slim network.

    Raises:
        InputError: If the configuration cannot be run.
    """
    check_recipe(config)
    folder = open_pipeline_folder(config)
    log.info("pipeline folder: %s", folder)
    summary = Pipeline(config, folder).run()
    return objective(config, summary)


def open_pipeline_folder(config: DictConfig) -> Path:
    """The folder of a recipe: the one given, that of the sweep's job, or one by its fingerprint."""
    fixed = config.copy()
    if config.output_dir is None and sweep_job() is None:
        target = required_target(config)
        name = (
            f"pipeline-{config.model.name}-{config.pruning.criterion}-{target.quantity}{target}"
            f"-{config.data.name}-seed{config.seed}-{fingerprint(config)}"
        )
        fixed.output_dir = str(Path(str(config.paths.outputs)) / name)
    return open_run_folder(fixed, "pipeline").path


class Pipeline:
    """The steps of one recipe.

    Args:
        config: Its configuration.
        folder: Its folder, with one run folder per step.
    """

    def __init__(self, config: DictConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.ran: list[str] = []
        self.pretrain = Step("pretrain", folder / "pretrain", ("summary.json", LAST))
        self.search = Step("search", folder / "search", ("summary.json", "rates.yaml"))
        self.prune = Step("prune", folder / "prune", ("summary.json", LAST))
        slim = ("summary.json", "model.safetensors", "model.json", LAST)
        self.finetune = Step("finetune", folder / "finetune", slim)
        self.steps = [self.pretrain, self.search, self.prune, self.finetune]
        if config.weights is not None:
            self.steps.remove(self.pretrain)

    def run(self) -> dict[str, Any]:
        """Run what has to run, print the table, and write ``summary.json``."""
        given = self.config.weights
        if given is None:
            self._do(self.pretrain, {}, lambda: self._train(self.pretrain, None))
            # The last epoch, not the best one: no choice is made on validation pictures.
            weights, start = self.pretrain.folder / LAST, self.pretrain.result
        else:
            weights = Path(str(given))
            if not weights.is_file():
                raise InputError(f"weights={weights} does not exist")
            start = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
        self._do(self.search, {"weights": start}, lambda: self._search(weights))
        rates = self._rates()
        inputs = {"weights": start, "rates": self.search.result}
        self._do(self.prune, inputs, lambda: self._train(self.prune, weights, rates))
        pruned = self.prune.folder / LAST
        inputs = {"weights": self.prune.result, "rates": self.search.result}
        self._do(self.finetune, inputs, lambda: self._train(self.finetune, pruned, rates))
        return self._finish()

    def _do(self, step: Step, inputs: dict[str, str], work: Callable[[], object]) -> None:
        """Run a step unless its result is there."""
        if step.is_done(inputs) and (step is not self.search or self._trials_are_enough()):
            log.info("%s: skipped, its result is in %s", step.name, step.folder)
            return
        log.info("%s: %s", step.name, step.folder)
        started = time.perf_counter()
        step.begin(inputs)
        work()
        if not step.complete:
            missing = [name for name in step.results if not (step.folder / name).exists()]
            raise InputError(f"{step.name} ended without {', '.join(missing)} in {step.folder}")
        step.end(inputs, time.perf_counter() - started)
        self.ran.append(step.name)

    def _train(
        self, step: Step, weights: Path | None, rates: dict[str, float] | None = None
    ) -> None:
        config = training_config(self.config, step.name, step.folder, weights, rates)
        self._set_group(config)
        train(config)

    def _group(self) -> str | None:
        """Group of all steps in W&B; a sweep groups its recipes itself."""
        return self.folder.name if sweep_job() is None else None

    def _set_group(self, config: DictConfig) -> None:
        wandb = config.logger.wandb
        if wandb is not None and wandb.group is None:
            wandb.group = self._group()

    def _search(self, weights: Path) -> None:
        config = search_config(self.config, self.search.folder, weights)
        self._set_group(config)
        search(config)
        if not (self.search.folder / "rates.yaml").exists():
            raise InputError(
                f"the search in {self.search.folder} found no rates for "
                f"{self._target()}: give more n_trials, or take space=exact"
            )

    def _trials_are_enough(self) -> bool:
        return int(_read(self.search).get("trials", 0)) >= int(self.config.n_trials)

    def _rates(self) -> dict[str, float]:
        return group_rates(OmegaConf.create({"rates": str(self.search.folder / "rates.yaml")}))

    def _finish(self) -> dict[str, Any]:
        """Print the table and write the flat record of the whole recipe."""
        records = {step.name: _read(step) for step in self.steps}
        how = {step.name: "run" if step.name in self.ran else "skipped" for step in self.steps}
        seconds = {step.name: step.seconds for step in self.steps}
        monitor = str(self.config.data.monitor).removeprefix("val/")
        print_pipeline(records, how, seconds, monitor, self._title())
        path = self.folder / "summary.json"
        if self.ran or not path.exists():
            summary = self._summary(records, how, seconds)
            with tracked_run(
                self.config, self.folder, self.folder.name, job_type="recipe", group=self._group()
            ) as tracked:
                if tracked is not None:
                    tracked.summary.update(summary_values(summary))
            write_summary(path, summary)
        log.info("pipeline folder: %s", self.folder)
        return read_summary(path)

    def _title(self) -> str:
        config = self.config
        parts = [config.model.name, config.pruning.criterion, self._target(), config.data.name]
        return " · ".join(parts)

    def _target(self) -> str:
        target = required_target(self.config)
        return f"target.{target.quantity}={target}"

    def _summary(
        self, records: dict[str, dict[str, Any]], how: dict[str, str], seconds: dict[str, float]
    ) -> dict[str, Any]:
        """The record of the final network; what it was before and how it came about beside it."""
        pruned, found = records["prune"], records["search"]
        summary = {
            **records["finetune"],
            # before and right after the mask: fine-tuning itself begins with a masked network
            **{key: value for key, value in pruned.items() if key.endswith(("_start", "_masked"))},
            "criterion": pruned["criterion"],
            "schedule": pruned["schedule"],
            "target": self._target().removeprefix("target."),
            "rates": found["rates"],
            "best_objective": found["best_objective"],
            "trials": found["trials"],
            "wall_seconds": sum(seconds.values()),
        }
        for name in records:
            summary |= {f"{name}_seconds": seconds[name], f"{name}_how": how[name]}
        return summary


def _read(step: Step) -> dict[str, Any]:
    return dict(read_summary(step.folder / "summary.json"))
