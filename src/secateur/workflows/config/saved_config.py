"""The configuration that a run folder holds: data, from which nothing is executed.

Hydra makes objects out of ``_target_`` nodes, and any function that can be imported may be such a
target. So a saved configuration is only read for its names and values: objects are made from the
configuration that is installed, looked up by these names.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import hydra.utils
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from secateur.data.synthetic.stored_set import RECORD
from secateur.errors import InputError
from secateur.readers import read_yaml
from secateur.schema import expect, mapping_in, shown, walk
from secateur.workflows.command_line.arguments import CONF, user_conf
from secateur.workflows.config.addresses import current_address

EXECUTABLE = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_", "_call_", "_mode_")
_REMEDY = "a saved configuration holds names and values only; delete this line if you trust it"

Values = dict[str, Any]


def without_targets(value: Any) -> Any:
    """Plain values without the keys that Hydra would make objects from."""
    if isinstance(value, Mapping):
        return {k: without_targets(v) for k, v in value.items() if k not in EXECUTABLE}
    if isinstance(value, list):
        return [without_targets(item) for item in value]
    return value


def read_saved_config(path: Path, *, keep_targets: bool = False) -> Values:
    """Read the ``config.yaml`` of a run folder.

    Args:
        path: The file.
        keep_targets: Whether to keep the ``_target_`` that older runs saved, to compare them.

    Returns:
        Plain values.

    Raises:
        InputError: If it is missing or no YAML, or a key would execute or look up something:
            ``_args_``, an interpolation, a ``_target_`` that the installed configuration has not.
    """
    remedy = "give the folder of a run of train.py or search.py, which write this file"
    values = mapping_in(read_yaml(path, remedy), path, remedy)

    def check(key: str, value: object) -> None:
        last = key.rpartition(".")[2]
        if last.startswith("_") and last.endswith("_"):
            known = last == "_target_" and isinstance(value, str)
            known = known and current_address(str(value)) in installed_targets()
            if not known and not (last == "_partial_" and value is True):
                raise InputError(f"{path}: {key}={shown(value)} is refused: {_REMEDY}")
        if isinstance(value, str) and "${" in value:
            raise InputError(f"{path}: {key}={shown(value)} looks something up: {_REMEDY}")

    walk(values, check)
    plain: Values = values if keep_targets else without_targets(values)
    return plain


def saved_data(values: Mapping[str, Any], path: Path) -> DictConfig:
    """The ``data`` node of a run, rebuilt from the installed one of that name.

    Args:
        values: As `read_saved_config` returns them.
        path: Where they come from.

    Returns:
        The node; nothing is downloaded for it, and a set that is drawn is drawn where it is on
        this machine.

    Raises:
        InputError: If there is no such data, or a value does not fit.
    """
    node = _rebuilt("data", values, path)
    with open_dict(node):
        if "download" in node:
            node.download = False
        installed = _installed("data", str(node.name)).get("root")
        # A drawn set is drawn where nothing is, so that no file may say where that is. os.path
        # answers for what no file system takes, such as a path of thousands of letters.
        if installed is not None and not os.path.isfile(os.path.join(str(node.root), RECORD)):  # noqa: PTH113, PTH118
            node.root = installed
    return node


def saved_model(values: Mapping[str, Any], path: Path) -> DictConfig:
    """The ``model`` node of a run, rebuilt from the installed one of that name.

    Raises:
        InputError: If there is no such model, or a value does not fit.
    """
    return _rebuilt("model", values, path)


def saved_task(path: Path) -> str | None:
    """``detection`` or ``recognition``, whichever a run was made for; None if it does not say.

    Raises:
        InputError: If the file is no saved configuration.
    """
    model = read_saved_config(path).get("model")
    task = model.get("task") if isinstance(model, Mapping) else None
    return task if isinstance(task, str) else None


@cache
def installed_targets() -> frozenset[str]:
    """Every ``_target_`` of the installed configuration and of the user's own ``conf/``."""
    found: set[str] = set()
    own = user_conf()
    paths = [*CONF.rglob("*.yaml"), *(own.rglob("*.yaml") if own is not None else ())]
    for path in sorted(paths):
        if not path.is_file():
            continue
        walk(
            read_yaml(path, "mend the installed configuration"),
            lambda key, value: found.add(str(value)) if key.endswith("_target_") else None,
        )
    return frozenset(found)


def _rebuilt(group: str, values: Mapping[str, Any], path: Path) -> DictConfig:
    """A node of the installed configuration with the values that a file holds."""
    saved = mapping_in(values.get(group), path, "give the folder of a run", group)
    name = saved.get("name")
    folders = [folder for folder in (CONF, user_conf()) if folder is not None]
    known = sorted(file.stem for folder in folders for file in (folder / group).glob("*.yaml"))
    if name not in known:
        raise InputError(
            f"{path}: {group}.name={shown(name)} is not installed here; known ones are "
            f"{', '.join(known)}: add conf/{group}/NAME.yaml, or give {group}= on the command line"
        )
    installed = _installed(group, str(name))
    merged = _merged(installed, saved, path, group, set(_parameters(installed.get("_target_"))))
    return OmegaConf.create(merged)


@cache
def _installed(group: str, name: str) -> Values:
    """Plain values of an installed node, interpolations resolved."""
    # There is one Hydra at a time, and that of the command itself may be it.
    state = GlobalHydra.instance()
    outer, state.hydra = state.hydra, None
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            own = user_conf()
            more = [f"hydra.searchpath=['file://{own}']"] if own is not None else []
            config = compose("evaluate", [f"{group}={name}", *more])
    finally:
        state.hydra = outer
    node: Values = OmegaConf.to_container(  # type: ignore[assignment]
        config[group], resolve=True
    )
    return node


def _merged(
    installed: Mapping[str, Any], saved: Mapping[str, Any], path: Path, key: str, extra: set[str]
) -> Values:
    """Installed values, replaced by saved ones of the same kind."""
    merged = dict(installed)
    for name, value in saved.items():
        where = f"{key}.{name}"
        if name not in installed and name not in extra:
            raise InputError(
                f"{path}: {where} is no setting of {key}; delete it, or give {key.split('.')[0]}= "
                "on the command line"
            )
        own = installed.get(name)
        if isinstance(own, Mapping) and isinstance(value, Mapping):
            merged[name] = _merged(own, value, path, where, set(_parameters(own.get("_target_"))))
            continue
        remedy = f"give {key.split('.')[0]}= on the command line, or mend that line"
        expect(_same_kind(own, value), path, where, _kind(own), value, remedy)
        merged[name] = value
    return merged


def _same_kind(own: object, value: object) -> bool:
    """Whether a value may stand where the installed configuration has another."""
    if own is None or value is None:
        return True
    if isinstance(own, bool) or isinstance(value, bool):
        return isinstance(own, bool) and isinstance(value, bool)
    if isinstance(own, float):
        return isinstance(value, int | float)
    return isinstance(value, type(own))


def _kind(own: object) -> str:
    """What a value is, for a message."""
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return kinds.get(type(own), "a list" if isinstance(own, list) else "a mapping")


def _parameters(target: object) -> Iterator[str]:
    """Names of the arguments that an installed class takes, those of its bases included."""
    if not isinstance(target, str):
        return
    for kind in inspect.getmro(hydra.utils.get_class(target)):
        if "__init__" in vars(kind):
            yield from inspect.signature(vars(kind)["__init__"]).parameters
