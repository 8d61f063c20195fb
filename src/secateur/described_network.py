"""Networks that are built from what a file says, of a size that there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from secateur.errors import InputError
from secateur.schema import is_number

Builders = Mapping[str, Callable[..., nn.Module]]
"""Name of an architecture in files -> what builds it from its arguments."""

LARGEST = 1 << 28  # parameters: a gibibyte of them
_LARGEST_ARGUMENT = 65_536
_LONGEST_LIST = 16
_LARGEST_IN_LIST = 256  # blocks of a stage


def are_arguments(value: object) -> bool:
    """Whether a value of a file can be the arguments of a network.

    >>> are_arguments({"width": 32, "blocks": [4, 6, 2], "topology": "standard"})
    True
    >>> are_arguments({"width": 1e300}), are_arguments({"blocks": [10**9]}), are_arguments([])
    (False, False, False)
    """
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and _is_argument(argument) for name, argument in value.items()
    )


def _is_argument(value: object) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= _LONGEST_LIST and all(
            isinstance(item, bool) or is_number(item, -_LARGEST_IN_LIST, _LARGEST_IN_LIST)
            for item in value
        )
    if isinstance(value, str):
        return len(value) < 100
    return (
        value is None
        or isinstance(value, bool)
        or is_number(value, -_LARGEST_ARGUMENT, _LARGEST_ARGUMENT)
    )


def find_builder(builders: Builders, name: str, source: Path) -> Callable[..., nn.Module]:
    """What builds the architecture that a file names.

    Args:
        builders: All that there are.
        name: What the file says.
        source: The file, for the message.

    Raises:
        InputError: If there is none of that name.
    """
    builder = builders.get(name)
    if builder is None:
        raise InputError(
            f"{source} names the architecture {name!r}; known ones are "
            f"{', '.join(sorted(builders))}"
        )
    return builder


def build_described(builder: Callable[..., nn.Module], arguments: Mapping[str, Any]) -> nn.Module:
    """Build a network with arguments that a file gives.

    A file of a few bytes can ask for any width: the network is built without memory first.

    Args:
        builder: Builds the network.
        arguments: What the file says.

    Raises:
        ValueError: If the arguments fit no network, or one of more than `LARGEST` parameters.

    Example:
        >>> build_described(nn.Linear, {"in_features": 60_000, "out_features": 60_000})
        Traceback (most recent call last):
        ValueError: such a network would have 3,600,060,000 parameters
    """
    if not are_arguments(arguments):
        raise ValueError("its arguments are of no network")
    try:
        with torch.device("meta"):
            sketch = builder(**arguments)
        count = sum(parameter.numel() for parameter in sketch.parameters())
    except (NotImplementedError, RuntimeError):
        count = 0  # a network of the user that looks at values while it is built
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if count > LARGEST:
        raise ValueError(f"such a network would have {count:,} parameters")
    try:
        return builder(**arguments)
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error
