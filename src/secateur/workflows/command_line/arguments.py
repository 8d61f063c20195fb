"""Arguments of the command line, completed before Hydra reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

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
    "trainer.min_epochs": "phases.dense_epochs, phases.prune_epochs and phases.finetune_epochs",
    "optimized_metric": "hydra.sweeper.objective, with hydra/sweeper=optuna",
    "extras.print_config": "print_config=true",
    "extras.ignore_warnings": "nothing: warnings that nobody can act on are not shown",
    "train": "python train.py trains, python evaluate.py measures",
    "test": "python evaluate.py run=FOLDER measures a run on its validation pictures",
    "model.optimizer.lr": "optimizer.lr",
    "data.batch_size": "data.batch_size is there for models and data that have it; see --cfg job",
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


def quoted_text(text: str) -> str:
    """A text in the quotes of Hydra's grammar."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text
    escaped = re.sub(r"(\\*)'", lambda found: found[1] * 2 + r"\'", text)
    return f"'{escaped}'"
