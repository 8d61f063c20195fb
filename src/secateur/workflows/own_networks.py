"""Networks that files may name: ours, and those of the user's own configuration.

``model.json`` of a slim network holds a name, never code. A network of ours has a short name; one
of the user's is named by its import path, and is rebuilt only where a file in the user's own
``conf/model/`` names the same path: the list of what may be imported comes from the configuration,
never from the file alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import hydra.utils
from omegaconf import DictConfig
from torch import nn

from secateur.described_network import Builders
from secateur.readers import read_yaml
from secateur.weights.architectures import BUILDERS
from secateur.workflows.command_line.arguments import CONF, user_conf


def builders(config: DictConfig | None = None) -> Builders:
    """What builds the networks that files may name.

    Args:
        config: A configuration whose own network counts too, because its user named it.

    Returns:
        Short names of ours and import paths of the user's own, with what builds each.
    """
    paths = set()
    for folder in (CONF, user_conf()):
        for path in sorted((folder / "model").glob("*.yaml")) if folder is not None else ():
            node = read_yaml(path, "mend it")
            network = node.get("network") if isinstance(node, dict) else None
            if isinstance(network, dict) and isinstance(network.get("_target_"), str):
                paths.add(network["_target_"])
    if config is not None and config.model.get("network") is not None:
        paths.add(str(config.model.network["_target_"]))
    own = {path: partial(_build, path) for path in paths if architecture_name(path) == path}
    return {**BUILDERS, **own}


def architecture_name(target: str) -> str:
    """The name that files hold for a network.

    Args:
        target: Import path of its class or function.

    Returns:
        The short name of one of ours, else the path.

    Example:
        >>> architecture_name("secateur.detectors.eresfd.EResFD")
        'eresfd'
        >>> architecture_name("mine.nets.EResFD")
        'mine.nets.EResFD'
    """
    short = target.rpartition(".")[2].lower()
    builder = BUILDERS.get(short)
    if isinstance(builder, type) and f"{builder.__module__}.{builder.__qualname__}" == target:
        return short
    return target


def _build(path: str, **arguments: Any) -> nn.Module:
    """Build a network by its import path."""
    network: nn.Module = hydra.utils.instantiate({"_target_": path, **arguments})
    return network
