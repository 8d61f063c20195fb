"""The rate search: configuration -> study -> rates.yaml, tables and plots."""

from __future__ import annotations

import logging
import time

from omegaconf import DictConfig

from secateur.search.workers import run_workers
from secateur.workflows.config.pruning_config import required_target
from secateur.workflows.run_folder import open_run_folder
from secateur.workflows.search.progress import SearchProgress
from secateur.workflows.search.search_job import build_search_job
from secateur.workflows.search.search_report import write_results
from secateur.workflows.search.trial_setup import resolve_search_config

log = logging.getLogger(__name__)


def search(config: DictConfig) -> float | None:
    """Search the rates of groups.

    Args:
        config: Composed ``conf/search.yaml``.

    Returns:
        The best objective, which a sweep may optimise.
    """
    started = time.perf_counter()
    config = resolve_search_config(config)
    run = open_run_folder(config, _run_name(config))
    log.info("run folder: %s", run.path)
    job = build_search_job(config, run)
    with SearchProgress(job.n_trials) as progress:
        study = run_workers(job, int(config.n_workers), progress.look)
    return write_results(config, run, job, study, time.perf_counter() - started, _run_name(config))


def _run_name(config: DictConfig) -> str:
    target = required_target(config)
    return (
        f"search-{config.model.name}-{config.space.kind}-{config.sampler.kind}"
        f"-{target.quantity}{target}-seed{config.seed}"
    )
