"""The shell around every command: compose the configuration, run, and explain what went wrong.

What a command needs is imported once its configuration is composed: a typo, ``--help`` and a TAB
are answered without torch.
"""

from __future__ import annotations

import functools
import gc
import io
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, cast

from secateur.errors import InputError, Interrupted, machine_sentence
from secateur.workflows.command_line.arguments import (
    CONF,
    hint_for,
    user_conf,
    with_debug,
    with_folders,
    with_override,
    with_quoted_paths,
    with_sweep_folder,
)
from secateur.workflows.command_line.help import help_text, known_names, meaning

COMMANDS = {
    "train": "secateur.workflows.train.command:train_command",
    "search": "secateur.workflows.search.rate_search:search",
    "sensitivity": "secateur.workflows.search.layer_sensitivity:sensitivity",
    "evaluate": "secateur.workflows.evaluate.faces:evaluate",
    "detect": "secateur.workflows.deploy.detect:detect",
    "embed": "secateur.workflows.deploy.embed:embed",
    "export": "secateur.workflows.deploy.export:export",
    "benchmark": "secateur.workflows.deploy.benchmark:benchmark",
    "compare": "secateur.workflows.comparison.compare:compare",
}
"""Command, which is also the name of its primary file in ``conf/``, and its workflow."""


_STOPPED = "stopped, the same command goes on"
_STOPPED_STATUS = 128 + signal.SIGINT

log = logging.getLogger(__name__)


def main() -> None:
    """The console script: ``secateur COMMAND KEY=VALUE ...``."""
    # Further processes of a distributed run are started without the command.
    command = os.environ.get("SECATEUR_COMMAND", "")
    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
        command = sys.argv.pop(1)
    if command not in COMMANDS:
        known = "|".join(COMMANDS)
        asked = sys.argv[1:2] in (["--help"], ["-h"])
        print(
            f"secateur {known} KEY=VALUE ...\nsecateur COMMAND --help tells what one does",
            file=sys.stdout if asked else sys.stderr,
        )
        sys.exit(0 if asked else 2)
    os.environ["SECATEUR_COMMAND"] = command
    sys.path.append(str(Path.cwd()))  # where the user's own networks and callbacks lie
    run_command(command)


def run_command(command: str, workflow: Callable[..., object] | None = None) -> None:
    """Run a workflow under Hydra; user errors become one sentence and exit status 2.

    Args:
        command: One of `COMMANDS`, or another primary file in ``conf/``.
        workflow: Function of the composed configuration, whose value reaches a sweeper; None takes
            that of `COMMANDS`.
    """
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(help_text(command))
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text
    # Hydra prints errors over many lines and hides their type; we want the exception itself.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    # Our launcher of the plugin's name is meant to be checked against the plugin's settings.
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/joblib' is validated against")
    # Said wherever Slurm is installed; a run that is meant for one machine can do nothing about it.
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    if command == "compare":
        sys.argv[1:] = with_folders(sys.argv[1:])
    sys.argv[1:] = with_quoted_paths(sys.argv[1:])
    try:
        sys.argv[1:] = with_debug(command, sys.argv[1:])
    except InputError as error:
        _fail(str(error))
    sys.argv[1:] = with_sweep_folder(command, sys.argv[1:])
    if (own := user_conf()) is not None and not any("searchpath" in a for a in sys.argv):
        sys.argv[1:] = with_override(sys.argv[1:], f"hydra.searchpath=['file://{own}']")
    _under_hydra(command, workflow)


def _under_hydra(command: str, workflow: Callable[..., object] | None) -> None:
    """Compose, run, and turn what went wrong into one sentence."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
    from hydra.types import RunMode
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    refused: list[InputError] = []
    composed: list[bool] = []

    def guarded(config: DictConfig) -> object:
        composed.append(True)
        from secateur.workflows.config.setting_ranges import check_settings
        from secateur.workflows.sweep import claim_device

        if config.get("print_config"):
            from secateur.workflows.command_line.config_tree import print_tree

            print_tree(config)
        claim_device(config)
        try:
            check_settings(config)
            return (workflow or _load(COMMANDS[command]))(config)
        except Exception as error:
            if isinstance(error, OmegaConfBaseException):  # a value that the command needs
                sentence: str | None = _override_problem(error, command)
            else:
                sentence = str(error) if isinstance(error, InputError) else machine_sentence(error)
            if sentence is None:
                raise
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise InputError(sentence) from error  # the sweeper decides what it means
            log.debug("the error behind the sentence", exc_info=True)
            refused.append(InputError(sentence))  # raised here, Hydra would print overrides first
            return None

    interrupts, hook = _catch_interrupts(), sys.unraisablehook
    sys.unraisablehook = functools.partial(_raise_again, hook)
    main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=command)
    try:
        try:
            main(guarded)()
        except Exception as error:
            # Whatever an interrupt breaks off may fail in its own way: an import, a teardown.
            if interrupts:
                raise Interrupted from error
            raise
        if refused:
            raise Interrupted if interrupts else refused[0]
    except InputError as error:
        _fail(str(error))
    except MissingConfigException as error:
        _fail(hint_for(sys.argv[1:]) or _unknown_option(error))
    except (ConfigCompositionException, HydraException, OmegaConfBaseException) as error:
        _fail(_override_problem(error, command))
    except ValueError as error:
        if composed:
            raise
        _fail(_no_choice(sys.argv[1:]) or _override_problem(error, command))
    except (Interrupted, KeyboardInterrupt):
        print(_STOPPED, file=sys.stderr)
        sys.exit(_STOPPED_STATUS)
    except Exception as error:
        sentence = machine_sentence(error)
        if sentence is None:
            raise
        _fail(sentence)
    finally:
        sys.unraisablehook = hook


def _raise_again(hook: Callable[[Any], object], swallowed: Any) -> None:
    """Interrupt once more where Python drops exceptions: in finalizers and around a fork."""
    if issubclass(swallowed.exc_type, Interrupted):

        def handle(number: int, frame: object) -> None:
            raise Interrupted

        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.05)  # once we are out of there
    else:
        hook(swallowed)


def _catch_interrupts() -> list[int]:
    """Stop in good order at the first Ctrl-C, and at once at the second.

    Returns:
        A list that holds something once there was one.
    """
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        return seen
    process = os.getpid()

    def handle(number: int, frame: object) -> None:
        if os.getpid() != process:  # a process that was forked, which torch ends quietly
            raise KeyboardInterrupt
        if seen:
            os.write(2, f"{_STOPPED}\n".encode())
            os._exit(_STOPPED_STATUS)
        seen.append(number)
        raise Interrupted

    signal.signal(signal.SIGINT, handle)
    return seen


def _load(address: str) -> Callable[..., object]:
    """Import a workflow, with the collector of cycles at rest.

    Imports leave a million objects that live as long as the process. Looking through them for
    cycles, now and at every later collection, takes a second of a short run.
    """
    module, _, name = address.partition(":")
    gc.disable()
    try:
        return cast("Callable[..., object]", getattr(import_module(module), name))
    finally:
        gc.freeze()
        gc.enable()


def _fail(sentence: str) -> NoReturn:
    print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(2)


def _unknown_option(error: Exception) -> str:
    """One sentence for ``model=nope``."""
    missing = getattr(error, "missing_cfg_file", None) or "a configuration"
    name = str(missing if isinstance(missing, str) else missing[0])
    group, _, choice = name.rpartition("/")
    if not group:
        return f"there is no configuration {choice}"
    # An option may lie in a folder of its group, as experiments do.
    while not (CONF / group).is_dir() and "/" in group:
        group, _, folder = group.rpartition("/")
        choice = f"{folder}/{choice}"
    options = _choices(group)
    if options == "nothing there":
        options = ", ".join(getattr(error, "options", None) or []) or options
    return f"{group}={choice} does not exist; choose {group} from: {options}"


def _meant(key: str, names: list[str]) -> str | None:
    """The key that a person may have meant: one spelt alike, or of that name within a part."""
    from secateur.workflows.config.setting_ranges import NUMBERS, SWITCHES, TEXTS

    close = get_close_matches(key.lower(), names, n=1)
    within = [name for name in (*NUMBERS, *SWITCHES, *TEXTS) if name.endswith(f".{key.lower()}")]
    if within and (not close or "." in key):
        return f"did you mean {within[0]}"
    if key in close:
        return "it is not set like this here"
    return f"did you mean {close[0]}" if close else None


def _no_choice(arguments: list[str]) -> str | None:
    """Sentence for ``callbacks=null`` and ``=3``: a group takes the name of one of its files."""
    for argument in arguments:
        key, sign, value = argument.partition("=")
        group = key.lstrip("+~")
        if sign and not group:
            return f"{argument} has no key before its =: give KEY=VALUE"
        is_none = value in ("null", "") or value[:1].isdigit()
        if sign and is_none and (CONF / group).is_dir():
            return f"{argument} is no choice; choose {group} from: {_choices(group)}"
    return None


def _choices(group: str) -> str:
    """Names of the options of a group, those in folders below it too."""
    folders = [CONF / group, *([own / group] if (own := user_conf()) is not None else [])]
    found = {
        path.relative_to(folder).with_suffix("").as_posix()
        for folder in folders
        for path in folder.glob("**/*.yaml")
    }
    return ", ".join(sorted(found)) or "nothing there"


def _override_problem(error: Exception, command: str) -> str:
    """One sentence for an override that names an unknown key or does not parse."""
    cause = error.__cause__ or error
    if match := re.search(r"full_key: rates\.(\S+)", str(cause)):
        return (
            f"rates.{match[1]}: the model declares no such group (the names are in conf/model and "
            f"conf/group_rates); for a group of your own in model.groups say +rates.{match[1]}=RATE"
        )
    if match := re.search(r"Key '[^']+' is not in struct\n *full_key: (\S+)", str(error)):
        taken = match[1].partition(".")[0]
        if any(argument.partition("=")[0] == f"~{taken}" for argument in sys.argv[1:]):
            return f"~{taken} takes away what the command needs: leave it out, or set {taken}"
    text = str(error).splitlines()[0].rstrip(".")
    if match := re.fullmatch(r"Ambiguous value for argument '(\S+?)=(.*)'", text):
        key, value = match[1], match[2]
        return (
            f"{key}={value} is several values: put quotes around a value that holds a comma, as in "
            f"{key}='\"{value}\"', or say -m to run the command once with each"
        )
    if match := re.fullmatch(r"Missing mandatory value: (\S+)", text):
        about = meaning(command, match[1])
        return f"{match[1]} is not given: say {match[1]}=VALUE{f' ({about})' if about else ''}"
    if override := getattr(error, "override", None):  # it does not parse
        key, _, value = str(override).partition("=")
        return (
            f"{override} cannot be read ({text}): put quotes around a value that holds = or a "
            f"comma, as in '{key}=\"{value}\"'"
        )
    unknown = re.match(r"Could not override '([^']+)'", text)
    if unknown:
        # Of the key that is refused, not of others that happen to stand beside it.
        if (elsewhere := hint_for([unknown[1]])) is not None:
            return elsewhere
        # Where a mapping was given, of the key within it.
        whole = re.search(r"full_key: (\S+)", str(cause))
        key = whole[1] if whole and whole[1].startswith(unknown[1]) else unknown[1]
        hint = _meant(key, known_names(command))
        return f"there is no key {key}; {hint or '--help lists what there is'}"
    detail = str(cause).splitlines()[0] if cause is not error else ""
    return f"{text}: {detail}" if detail and detail not in text else text
