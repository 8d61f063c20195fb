"""Which layers of a network have filters to prune, and how patterns pick them by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from secateur.errors import InputError


def prunable_layers(model: nn.Module, exclude: Sequence[str] = ()) -> dict[str, nn.Module]:
    """Convolutions and transposed convolutions of a network, each once.

    A layer that is called several times or registered under several names counts once, under the
    name it was registered with first.

    Args:
        model: Network.
        exclude: Patterns of layers that are not to be pruned, such as the heads.

    Returns:
        Layers by name, in the order of registration.

    Raises:
        InputError: If a pattern fits no layer or no layer is left.
    """
    layers: dict[str, nn.Module] = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    }
    excluded = {name for pattern in exclude for name in match_layers(pattern, layers, "exclude")}
    left = {name: layer for name, layer in layers.items() if name not in excluded}
    if not left:
        reason = "every convolution is excluded" if layers else "it has no convolution"
        raise InputError(f"{type(model).__name__} cannot be pruned: {reason}")
    return left


def match_layers(pattern: str, layers: Iterable[str], where: str) -> list[str]:
    """Names that a shell-style pattern fits.

    Args:
        pattern: Name of a layer or of a module around layers; ``*``, ``?`` and ``[...]`` stand
            for any characters, dots included.
        layers: Names of layers.
        where: Where the pattern was given, for the message.

    Returns:
        The names that fit, in the order of ``layers``.

    Raises:
        InputError: If the pattern fits none.
    """
    names = list(layers)
    fits = [
        name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
    ]
    if not fits:
        close = get_close_matches(pattern, _with_parents(names), n=3, cutoff=0.5)
        hint = (
            f"close names are {', '.join(close)}" if close else f"layers are named {names[0]} ..."
        )
        raise InputError(f"pattern {pattern!r} in {where} fits no layer; {hint}")
    return fits


def _with_parents(names: Iterable[str]) -> list[str]:
    """Names of layers and of all modules around them, each once."""
    parents: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        parents.update(dict.fromkeys(".".join(parts[: i + 1]) for i in range(len(parts))))
    return list(parents)
