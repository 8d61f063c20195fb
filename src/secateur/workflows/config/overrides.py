"""Overrides as text: what a person can paste behind a command."""

from __future__ import annotations

import re

from hydra.core.hydra_config import HydraConfig

_PLAIN = re.compile(r"[\w./:@%+-]+")


def override(key: str, value: str) -> str:
    """An override that Hydra reads back as the same text.

    Args:
        key: Key of the configuration.
        value: Any text without line breaks.

    Example:
        >>> override("weights", "a/b.pth")
        'weights=a/b.pth'
        >>> override("data.root", "/my data/WIDER")
        "data.root='/my data/WIDER'"
    """
    if _PLAIN.fullmatch(value):
        return f"{key}={value}"
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


def given_overrides() -> list[str]:
    """Overrides of the command line; none where Hydra did not start the program."""
    if not HydraConfig.initialized():
        return []
    return [str(given) for given in HydraConfig.get().overrides.task]


def key_of(given: str) -> str:
    """Key that an override sets, adds or deletes.

    Args:
        given: As on the command line.

    Example:
        >>> key_of("+data.n_train=8"), key_of("~logger"), key_of("data@mine=lfw")
        ('data.n_train', 'logger', 'data')
    """
    return re.split(r"[=@]", given.lstrip("+~"))[0]
