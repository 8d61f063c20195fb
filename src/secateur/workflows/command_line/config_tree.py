"""The composed configuration as a tree, as ``print_config=true`` shows it."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text
from rich.tree import Tree


def print_tree(config: DictConfig, console: Console | None = None) -> None:
    """Print a configuration, groups before values, interpolations as they stand.

    Args:
        config: The composed configuration.
        console: Where to print; standard output when absent.
    """
    tree = Tree("configuration", style="dim", guide_style="dim")
    values = OmegaConf.to_container(config)
    assert isinstance(values, dict)
    for key, value in sorted(values.items(), key=lambda item: not isinstance(item[1], dict)):
        _add(tree, str(key), value)
    (console or Console()).print(tree)


def _add(tree: Tree, key: str, value: object) -> None:
    if isinstance(value, dict) and value:
        branch = tree.add(Text(key, style="bold"))
        for name, one in value.items():
            _add(branch, str(name), one)
    else:
        text = "null" if value is None else str(value)
        tree.add(Text(f"{key}: {text}"))
