"""The end of a training run: slim, prove, evaluate, count costs, and write the run folder."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn

from secateur.callbacks.progress_line import build_progress
from secateur.callbacks.soft_pruning import SoftPruningCallback
from secateur.callbacks.stage_recorder import StageRecorder
from secateur.cost.latency import machine_name, measure_side_by_side
from secateur.cost.macs import count_macs
from secateur.cost.memory import peak_memory_mb
from secateur.cost.parameters import count_nonzero, count_parameters, sparsity
from secateur.cost.report import compare_costs
from secateur.files import write_json
from secateur.metrics.names import QUALITY
from secateur.metrics.verification import Verification
from secateur.pruning.artifact import PICTURES, record_about, save_verified_slim
from secateur.reports.evaluation_files import write_curves
from secateur.reports.plots import Span
from secateur.reports.run_report import closing_table, draw_plots
from secateur.reports.summary import write_summary
from secateur.reports.verification_plots import plot_roc, write_roc
from secateur.workflows.build import instantiate
from secateur.workflows.config.pruning_config import group_rates, size_target
from secateur.workflows.loading import origin_of_start
from secateur.workflows.model_cards import write_run_card
from secateur.workflows.own_networks import builders
from secateur.workflows.run_folder import RunFolder, plain
from secateur.workflows.run_records import VERIFICATION
from secateur.workflows.tracking.loggers import log_outcome
from secateur.workflows.train.recovery import stage_networks

log = logging.getLogger(__name__)

_TOLD = (
    *("data", "input_size", "protocol", "criterion", "scope", "schedule", "rate", "target"),
    *("params_dense", "params_slim", "macs_dense", "macs_slim"),
)

_FASTER = 0.97  # of the dense time; nearer to it, it may as well be chance


class RunFinalizer:
    """Everything that follows the last epoch.

    Args:
        config: Configuration of the run.
        run: Its folder.
        network: Trained network, its masks set.
        architecture: Name and arguments that build the dense network.
        data: Datamodule, for real pictures and the final validation.
        recorder: Validation metrics by stage.
        pruning: Callback with the masks, or None for plain training.
        loggers: Loggers that take the final record.
        made_from: Weights and rates that the run began with.
    """

    def __init__(
        self,
        config: DictConfig,
        run: RunFolder,
        network: nn.Module,
        architecture: dict[str, Any],
        data: Any,
        recorder: StageRecorder,
        pruning: SoftPruningCallback | None,
        loggers: list[Logger],
        made_from: Sequence[Path] = (),
    ) -> None:
        self.config = config
        self.run = run
        # In single precision, whatever it was trained in: proofs and exports need it.
        self.masked = copy.deepcopy(network).cpu().float().eval()
        self.architecture = architecture
        self.data = data
        self.recorder = recorder
        self.pruning = pruning
        self.loggers = loggers
        self.made_from = made_from
        size = int(config.data.input_size)
        self.example = torch.zeros(1, 3, size, size)
        self.verification: Verification | None = None
        self.curves: dict[str, tuple[NDArray[np.float64], float]] = {}

    def __call__(self, wall_seconds: float, about: Mapping[str, Any]) -> dict[str, Any]:
        """Finish the run.

        Args:
            wall_seconds: Time that training took so far.
            about: What else the record says: which epoch is slimmed.

        Returns:
            The flat record that ``summary.json`` holds.
        """
        proved = save_verified_slim(
            self.run.path,
            self.masked,
            self.architecture,
            builders(self.config),
            self.example,
            self.real_inputs(),
            scatter=bool(self.config.pruning.get("scatter", False)),
            align=int(self.config.pruning.get("align", 1)),
            equal=bool(self.config.pruning.get("equal", True)),
            traced=self.pruning.pruner.traced if self.pruning is not None else None,
        )
        slimmed, difference = proved.network, proved.difference
        log.info("slim against masked on real pictures: max abs difference %.2g", difference)
        final = self.evaluate(slimmed, "slim network", keep=True)
        # A recovering run was validated on pictures that are held out of training.
        for stage, network in stage_networks(self.masked, self.pruning).items():
            self.recorder.stages[stage] = self.evaluate(network, f"{stage} network")
        summary = {**self.summarise(slimmed, difference, final, wall_seconds), **about}
        if proved.renormalized:
            summary["slim_equal"] = False
            summary["slim_renormalized"] = ", ".join(proved.renormalized)
        if (
            getattr(rank_zero_only, "rank", 0) == 0
        ):  # the other processes only took part in the evaluation
            self.write(slimmed, summary)
        return summary

    def real_inputs(self) -> Iterable[tuple[Tensor]]:
        """Some validation pictures as network inputs."""
        for image in self.data.validation_images(PICTURES):
            yield (image[None],)

    def evaluate(self, network: nn.Module, name: str, *, keep: bool = False) -> dict[str, float]:
        """Validate a network.

        Args:
            network: The network.
            name: What the terminal calls it.
            keep: Whether its curves and thresholds are those of the run.

        Returns:
            Its figures by name.
        """
        task = instantiate(self.config.model.lightning, network=copy.deepcopy(network))()
        shows = bool(self.config.trainer.enable_progress_bar)
        trainer = pl.Trainer(
            accelerator=self.config.trainer.accelerator,
            devices=1,
            logger=False,
            limit_val_batches=self.config.trainer.limit_val_batches,
            enable_progress_bar=shows,
            callbacks=[build_progress(validates=name)] if shows else [],
            enable_model_summary=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,
        )
        values = trainer.validate(task, self.data, verbose=False)
        # nothing is measured with trainer.limit_val_batches=0
        found = values[0] if values else {}
        figures = {name.removeprefix("val/"): float(value) for name, value in found.items()}
        if found and keep:
            if (metric := getattr(task, "verification", None)) is not None:
                self.verification = metric.verification()
            # a task of one's own may measure something else
            curves = getattr(getattr(task, "average_precision", None), "curves", {})
            self.curves = {name: (curve, figures[f"ap_{name}"]) for name, curve in curves.items()}
        return figures

    def summarise(
        self, slimmed: nn.Module, difference: float, final: dict[str, float], wall_seconds: float
    ) -> dict[str, Any]:
        """The flat record of the run."""
        config = self.config
        timing = measure_side_by_side({"dense": self.masked, "slim": slimmed}, self.example)
        criterion = config.pruning.criterion
        record: dict[str, Any] = {
            "task": config.model.task,
            "model": config.model.name,
            "criterion": criterion,
            "scope": config.pruning.scope if criterion else None,
            "schedule": config.pruning.schedule if criterion else None,
            "rate": float(config.rate) if criterion else 0.0,
            "rates": group_rates(config) or None,
            "target": ", ".join(f"{k}={v}" for k, v in size_target(config).items()) or None,
            "seed": int(config.seed),
            "data": config.data.name,
            "input_size": int(config.data.input_size),
            "protocol": "single" if config.model.task == "detection" else None,
            "params_dense": count_parameters(self.masked),
            "params_nonzero": count_nonzero(self.masked),
            "params_slim": count_parameters(slimmed),
            "sparsity": sparsity(self.masked),
            "macs_dense": count_macs(self.masked, (self.example,)).total,
            "macs_slim": count_macs(slimmed, (self.example,)).total,
            "slim_max_abs_diff": difference,
            "latency_ms_dense": timing["dense"].median_ms,
            "latency_ms_slim": timing["slim"].median_ms,
            "machine": machine_name(),
            "wall_seconds": wall_seconds,
            "peak_memory_mb": peak_memory_mb(),
        }
        record.update(final)
        for stage in ("start", "masked", "reconstructed"):
            values = self.recorder.stages.get(stage, {})
            record.update({f"{name}_{stage}": value for name, value in values.items()})
        return {name: value for name, value in record.items() if value is not None}

    def spans(self) -> list[Span]:
        """Phases of the run, to mark in the plots."""
        if self.pruning is None:
            return []
        schedule = self.pruning.schedule
        names = {"dense": "dense", "prune": "pruning", "hold": "fine-tuning"}
        phases = [schedule.phase(epoch) for epoch in range(schedule.total_epochs)]
        return [
            Span(name, phases.index(phase), len(phases) - 1 - phases[::-1].index(phase))
            for phase, name in names.items()
            if phase in phases
        ]

    def write(self, slimmed: nn.Module, summary: dict[str, Any]) -> None:
        """Everything a person or another program reads; ``summary.json`` last marks the end."""
        if self.pruning is not None:
            pruner = self.pruning.pruner
            report = compare_costs(
                self.masked,
                slimmed,
                (self.example,),
                keep=self.pruning.keep,
                rates=pruner.rates_of(self.pruning.keep),
                scores=pruner.scores,
                groups=pruner.groups,
            )
            write_json(self.run.path / "pruning.json", report)
        draw_plots(self.run.path, self.spans())
        self.write_curves()
        closing_table(summary)
        if (hint := speed_hint(summary, int(self.config.pruning.get("align", 1)))) is not None:
            log.info("%s", hint)
        config = plain(self.config)
        record_about(self.run.path, about_slim(summary, config))
        write_run_card(self.run.path, summary, config, pictures_of(self.data))
        log_outcome(self.loggers, self.config, self.run.path, summary, self.made_from)
        write_summary(self.run.summary, summary)
        log.info("run folder: %s", self.run.path)

    def write_curves(self) -> None:
        """Precision and recall, or ROC and thresholds, of the slim network."""
        folder = self.run.path
        if self.curves:
            write_curves(folder, self.curves, title="Slim network")
        if self.verification is not None:
            roc = self.verification.roc
            write_roc(folder / "roc.csv", roc)
            plot_roc(folder / "plots" / "roc.png", {"slim network": roc}, title="Verification")
            write_json(folder / VERIFICATION, {"thresholds": self.verification.thresholds()})


def about_slim(summary: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run goes with its slim network wherever that is copied."""
    names = (*_TOLD, *(figure.name for figure in QUALITY))
    told = {name: summary.get(name) for name in names}
    plain_values = {k: v for k, v in told.items() if isinstance(v, str | int | float)}
    return {**origin_of_start(config), **plain_values}


def pictures_of(data: object) -> str:
    """How many pictures a data module has, as it says so, without where they lie."""
    describe = getattr(data, "describe", None)
    if describe is None:  # one of the user's own
        return ""
    line = str(describe()).splitlines()[0]
    root = f"{getattr(data, 'root', None)}: "
    return line.replace(root, "").removeprefix("DEMO of drawn people, ")


def speed_hint(summary: Mapping[str, Any], align: int) -> str | None:
    """What makes a smaller network faster too, if it is not.

    Args:
        summary: Record of the run.
        align: What numbers of channels are multiples of.

    Returns:
        A sentence; None if the slim network is faster, nothing was removed, or nothing is known.
    """
    share = summary["latency_ms_slim"] / summary["latency_ms_dense"]
    if share < _FASTER or summary["params_slim"] == summary["params_dense"]:
        return None
    remedies = [] if summary.get("scope") == "coupled" else ["pruning.scope=coupled"]
    remedies += [] if align > 1 else ["pruning.align=8"]
    if not remedies:
        return None
    return (
        f"smaller, not faster: the slim network takes {share:.0%} of the dense time here. "
        f"{' '.join(remedies)} removes whole channels in blocks that processors compute at once; "
        "target.latency=0.8 asks for a time"
    )
