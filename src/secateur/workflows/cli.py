"""The shell around every command: compose the configuration, run, and explain what went wrong."""

from __future__ import annotations

import functools
import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from secateur.errors import InputError
from secateur.workflows.sweep import claim_device


def run_command(config_name: str, workflow: Callable[[DictConfig], object]) -> None:
    """Run a workflow under Hydra; user errors become one sentence and exit status 2.

    Args:
        config_name: Name of the primary file in ``conf/``.
        workflow: Function of the composed configuration; its value reaches a sweeper.
    """
    # Hydra prints errors over many lines and hides their type; we want the exception itself.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    # Our launcher of the plugin's name is meant to be checked against the plugin's settings.
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/joblib' is validated against")
    conf = Path(sys.argv[0]).resolve().parent / "conf"
    main = hydra.main(version_base="1.3", config_path=str(conf), config_name=config_name)
    refused: list[InputError] = []

    @functools.wraps(workflow)
    def guarded(config: DictConfig) -> object:
        claim_device(config)
        try:
            return workflow(config)
        except InputError as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise  # the sweeper decides what a failed job means
            refused.append(error)  # raised from here, Hydra would print the overrides first
            return None

    try:
        main(guarded)()
        if refused:
            raise refused[0]
    except InputError as error:
        _fail(str(error))
    except MissingConfigException as error:
        _fail(_unknown_option(error))
    except (ConfigCompositionException, HydraException, OmegaConfBaseException) as error:
        _fail(_override_problem(error))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


def _fail(sentence: str) -> NoReturn:
    print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(2)


def _unknown_option(error: MissingConfigException) -> str:
    """One sentence for ``model=nope``."""
    missing = error.missing_cfg_file or "a configuration"
    name = str(missing if isinstance(missing, str) else missing[0])
    group, _, choice = name.rpartition("/")
    options = ", ".join(error.options or [])
    if not group:
        return f"there is no configuration {choice}"
    return f"{group}={choice} does not exist; choose {group} from: {options or 'nothing there'}"


def _override_problem(error: Exception) -> str:
    """One sentence for an override that names an unknown key or does not parse."""
    cause = error.__cause__ or error
    if match := re.search(r"full_key: rates\.(\S+)", str(cause)):
        return (
            f"rates.{match[1]}: the model declares no such group (the names are in conf/model and "
            f"conf/group_rates); for a group of your own in model.groups say +rates.{match[1]}=RATE"
        )
    text = str(error).splitlines()[0].rstrip(".")
    detail = str(cause).splitlines()[0] if cause is not error else ""
    return f"{text}: {detail}" if detail and detail not in text else text
