"""Arguments of the command line, completed before Hydra reads them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from secateur.errors import InputError

CONF = Path(__file__).resolve().parents[2] / "conf"
"""The configuration that travels in the package."""

_WITH_VALUE = ("--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd", "--cfg", "-c")
_TEXTS = ("where", "title", "references", "output_dir", "wandb")

ELSEWHERE = {
    "ckpt_path": "weights=FILE starts from a network, resume=auto or resume=FOLDER goes on with a "
    "run, and evaluate.py run=FOLDER measures one",
    "task_name": "output_dir=FOLDER names where a run goes, logger.wandb.tags=[...] what it is",
    "tags": "logger=wandb logger.wandb.tags=[...]",
    "trainer.max_epochs": "phases.dense_epochs, phases.prune_epochs and phases.finetune_epochs",
    "epochs": "phases.dense_epochs, phases.prune_epochs and phases.finetune_epochs",
    "max_epochs": "phases.dense_epochs, phases.prune_epochs and phases.finetune_epochs",
    "trainer.min_epochs": "phases.dense_epochs, phases.prune_epochs and phases.finetune_epochs",
    "optimized_metric": "hydra.sweeper.objective, with hydra/sweeper=optuna",
    "extras.print_config": "print_config=true",
    "extras.ignore_warnings": "nothing: warnings that nobody can act on are not shown",
    "train": "python train.py trains, python evaluate.py measures",
    "test": "python evaluate.py run=FOLDER measures a run on its validation pictures",
    "model.optimizer.lr": "optimizer.lr",
    "trainer.default_root_dir": "output_dir=FOLDER",
    "paths.output_dir": "output_dir=FOLDER, or paths.outputs for all runs",
}
"""Keys that users of other templates know, and what they are called here."""


def hint_for(arguments: Sequence[str]) -> str | None:
    """A sentence for the first key that is called otherwise here; None where there is none."""
    for argument in arguments:
        key = argument.partition("=")[0].lstrip("+~")
        if key in ELSEWHERE:
            return f"{key} is called otherwise here: {ELSEWHERE[key]}"
    return None


_OF_TRAINING = {name: name for name in ("fast", "fdr", "limit", "overfit", "profiler", "none")}
DEBUG = {
    "train": _OF_TRAINING,
    "search": {"fast": "search", "search": "search", "none": "none"},
    "evaluate": {"fast": "evaluate", "evaluate": "evaluate", "none": "none"},
}
"""What ``debug=`` may say to a command, and the file of ``conf/debug`` that it means."""


def with_debug(command: str, arguments: Sequence[str]) -> list[str]:
    """Give ``debug=fast`` the meaning that it has for a command.

    Args:
        command: Name of the command.
        arguments: As given.

    Returns:
        The arguments with the name of the file; options of the user's own stay as they are.

    Raises:
        InputError: If the option would change nothing of this command.

    Example:
        >>> with_debug("search", ["debug=fast", "n_trials=3"])
        ['debug=search', 'n_trials=3']
    """
    known = DEBUG.get(command, {})
    given = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "debug" and value in known:
            argument = f"debug={known[value]}"
        elif (
            key == "debug" and known and (of := [c for c, names in DEBUG.items() if value in names])
        ):
            raise InputError(
                f"debug={value} is for {of[0]} and would change nothing of {command}: "
                "take debug=fast, which is all of it in seconds"
            )
        given.append(argument)
    return given


def user_conf() -> Path | None:
    """The folder ``conf`` of the user's own project, beside where the command was given."""
    folder = Path.cwd() / "conf"
    return folder if folder.is_dir() and folder.resolve() != CONF.resolve() else None


def with_folders(arguments: Sequence[str]) -> list[str]:
    """Let folders stand without a key, and a condition without the quotes that Hydra wants.

    Args:
        arguments: As given, such as ``["outputs/", "where=params_slim<60k"]``.

    Returns:
        Folders gathered under ``folders=``, texts quoted.

    Example:
        >>> with_folders(["outputs/", "where=rate<=30%"])
        ["where='rate<=30%'", "folders=['outputs/']"]
    """
    folders, rest = [], []
    options = iter(arguments)
    for argument in options:
        key, sign, value = argument.partition("=")
        if argument.startswith("-"):
            rest.append(argument)
            if argument in _WITH_VALUE:
                rest += [next(options, "")]
        elif sign and re.fullmatch(r"[+~\w.@/]+", key) and not Path(argument).exists():
            quoted = key in _TEXTS and value != "null"
            rest.append(f"{key}={quoted_text(value)}" if quoted else argument)
        else:
            folders.append(argument)
    if folders:
        rest.append(f"folders=[{','.join(map(quoted_text, folders))}]")
    return rest


# what a value without quotes may consist of in Hydra's grammar; an escape is the user's own quoting
_PLAIN = re.compile(r"[\w /\-\\+.$%*@?|:]*", re.ASCII)


def with_quoted_paths(arguments: Sequence[str]) -> list[str]:
    """Quote names of files and folders that Hydra's grammar does not take as they are.

    Args:
        arguments: As given.

    Returns:
        The arguments, with quotes around paths that hold letters beyond ASCII or signs such as
        ``=``, ``[`` and ``{``, and the home folder in place of ``~``. A list stays one, and a comma
        still parts the values of a sweep unless a file is called so.

    Example:
        >>> with_quoted_paths(["source=Jürgen.jpg", "run=a=b", "rate=0.1,0.3"])
        ["source='Jürgen.jpg'", "run='a=b'", 'rate=0.1,0.3']
    """
    from secateur.workflows.config.setting_ranges import TEXTS

    given = []
    for argument in arguments:
        key, sign, value = argument.partition("=")
        is_path = sign and any(fnmatchcase(key.lstrip("+"), pattern) for pattern in TEXTS)
        if is_path and value.startswith("~/"):
            value = str(Path(value).expanduser())
            argument = f"{key}={value}"
        if is_path and not _PLAIN.fullmatch(value) and not _is_grammar(value):
            argument = f"{key}={quoted_text(value)}"
        given.append(argument)
    return given


def _is_grammar(value: str) -> bool:
    """Whether the signs in a value mean something to Hydra: a list, several values, a reference."""
    if "${" in value or "\\" in value:
        return True
    is_list = value.startswith("[") and value.endswith("]")
    return (is_list or "," in value) and not os.path.lexists(value)  # of a name too long: False


# what may differ when a sweep goes on: it changes neither data nor result of a run
_ELSEWHERE_TOO = re.compile(
    r"[+~]{0,2}(hydra([./].*)?|logger([./].*)?|callbacks([./].*)?|paths([./].*)?|resume|print_config"
    r"|trainer\.enable_progress_bar)$"
)


def with_sweep_folder(command: str, arguments: Sequence[str]) -> list[str]:
    """Give a sweep a folder that the same command finds again.

    Its name follows from the overrides in their order, which numbers the jobs. Finished jobs are
    then not repeated and unfinished ones go on, whichever launcher runs them.

    Args:
        command: Name of the command.
        arguments: As given.

    Returns:
        The arguments, with ``hydra.sweep.dir`` where a sweep has neither a folder nor a sweeper of
        its own and does not begin anew with ``resume=never``.

    Example:
        >>> with_sweep_folder("train", ["-m", "rate=0.1,0.3"])[2]
        'hydra.sweep.dir=${paths.outputs}/multirun/train-rate-714b6ee0'
    """
    given = list(arguments)
    keys = [argument.partition("=")[0] for argument in given]
    own = {"hydra.sweep.dir", "hydra/sweeper", "+hydra/sweeper", "hparams_search"} & set(keys)
    if not {"-m", "--multirun"} & set(given) or own or "resume=never" in given:
        return given
    kept = [
        argument
        for argument, key in zip(given, keys, strict=True)
        if "=" in argument and not _ELSEWHERE_TOO.match(key)
    ]
    pairs = [argument.partition("=") for argument in kept]
    swept = [re.sub(r"\W+", "_", key.strip("+~")) for key, _, value in pairs if "," in value]
    mark = hashlib.sha256("\n".join([command, *kept]).encode()).hexdigest()[:8]
    name = "-".join([command, *swept[:4], mark])
    return with_override(given, f"hydra.sweep.dir=${{paths.outputs}}/multirun/{name}")


def with_override(arguments: Sequence[str], override: str) -> list[str]:
    """Add an override beside those that are there: argparse wants all of them in one place.

    Args:
        arguments: As given, options among them.
        override: ``KEY=VALUE``.

    Returns:
        The arguments with the override after the first one.

    Example:
        >>> with_override(["rate=0.1", "--cfg", "job"], "seed=3")
        ['rate=0.1', 'seed=3', '--cfg', 'job']
    """
    given = list(arguments)
    places = (i for i, one in enumerate(given) if "=" in one and not one.startswith("-"))
    place = next(places, len(given) - 1) + 1
    return [*given[:place], override, *given[place:]]


def quoted_text(text: str) -> str:
    """A text in the quotes of Hydra's grammar."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text
    escaped = re.sub(r"(\\*)'", lambda found: found[1] * 2 + r"\'", text)
    return f"'{escaped}'"
